"""Buckets of vectors by random rotations, so that near vectors often share one.

Andoni et al. 2015 (cross-polytope hashing), as in Reformer (arXiv 2001.04451, section 2): a vector's bucket
is the direction, among those of random rotations and their opposites, that it points to most. Where a
bucket holds too much, it is sorted by one more random direction and cut into chunks.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.search import limits
from structformer.ops.search.best import row_blocks
from structformer.ops.search.parts import Parts
from structformer.ops.search.select import largest, order


def embed(
    parts: Parts, source: Int[Tensor, "sources"]
) -> tuple[Float[Tensor, "targets extended"], Float[Tensor, "sources extended"]]:
    """Map queries and keys to a sphere where the largest product is the smallest angle.

    Keys get one more coordinate that brings all of a part to the length of its longest, queries
    that length and a zero (Bachrach et al. 2014). Angles are then taken around the mean of the keys, which
    moves no neighbour and spreads what points the same way.
    """
    row_part, col_part = _part_of(parts.rows), _part_of(parts.cols)
    query, key = parts.query[parts.targets()], parts.key[source]
    squared = key.square().sum(1)
    longest = squared.new_zeros(len(parts.cols)).scatter_reduce_(0, col_part, squared, "amax")
    missing = (longest[col_part] - squared).clamp(min=0).sqrt()
    key = torch.cat([key, missing[:, None]], dim=1)
    length = query.norm(dim=1).clamp(min=torch.finfo(query.dtype).tiny)
    query = query * (longest.sqrt()[row_part] / length)[:, None]
    query = torch.cat([query, query.new_zeros(len(query), 1)], dim=1)
    # In double precision, so that the order of the tokens cannot be seen in the mean.
    total = key.new_zeros(len(parts.cols), key.shape[1], dtype=torch.float64)
    mean = (total.index_add_(0, col_part, key.double()) / parts.cols.diff()).float()
    return query - mean[row_part], key - mean[col_part]


class Buckets:
    """Random directions, and the cells of keys that they make.

    Args:
        parts: What is searched.
        source: The sources of all parts, one part after the other.
        query: Embedded queries of all parts' targets.
        key: Embedded keys of `source`.
        generator: Where the directions come from.
    """

    def __init__(
        self, parts: Parts, source: Tensor, query: Tensor, key: Tensor, generator: torch.Generator
    ) -> None:
        self.query = query
        sizes = parts.cols.diff()[:, 0]
        # A power of two of buckets, so that most cells of even data hold CELL keys or fewer.
        wanted = (sizes / limits.CELL).log2().ceil().clamp(min=1).exp2().long()
        self.num_buckets = wanted.clamp(max=limits.MOST_BUCKETS)
        self.base = self.num_buckets.cumsum(0) - self.num_buckets
        self.row_part, self.col_part = _part_of(parts.rows), _part_of(parts.cols)
        self.directions = _rotations(int(self.num_buckets.max()) // 2, key, generator)
        self.across = _rotations(1, key, generator)[:, 0]

        cell = self._cells(key, self.col_part, 1)[:, 0]
        along = key @ self.across
        place = order(along)
        place = place[order(cell[place])]
        self.source, self.along = source[place], along[place]
        held = torch.bincount(cell, minlength=int(self.num_buckets.sum()))
        self.chunks = (held / (2 * limits.CELL)).ceil().long()
        self.held = held
        self.start = held.cumsum(0) - held
        self.first_chunk = self.chunks.cumsum(0) - self.chunks

    def key_spans(self) -> Int[Tensor, "chunks 2"]:
        """Return where the keys of each chunk begin and end in `source`."""
        cell = torch.repeat_interleave(torch.arange(len(self.chunks), device=self.chunks.device), self.chunks)
        number = torch.arange(len(cell), device=cell.device) - self.first_chunk[cell]
        held, chunks = self.held[cell], self.chunks[cell]
        ends = torch.stack([number * held // chunks, (number + 1) * held // chunks], dim=1)
        return ends + self.start[cell, None]

    def probe(self, probes: int) -> Int[Tensor, "rows probes"]:
        """Return the chunks in which to look for each query's sources, −1 where a bucket is empty."""
        cell = self._cells(self.query, self.row_part, probes)
        chunk = self.first_chunk[cell]
        cut = (self.chunks[cell] > 1).nonzero(as_tuple=True)
        if cut[0].numel():
            chunk[cut] += self._chunk_inside(cell[cut], (self.query @ self.across)[cut[0]])
        return chunk.masked_fill(self.held[cell] == 0, -1)

    def _chunk_inside(self, cell: Tensor, along: Tensor) -> Tensor:
        """Find by bisection which chunk of its cell a query falls in."""
        low, high = self.start[cell], self.start[cell] + self.held[cell]
        first = low.clone()
        for _ in range(int(self.held.max()).bit_length()):
            middle = (low + high) // 2
            right = (low < high) & (self.along[middle.clamp(max=len(self.along) - 1)] < along)
            low = torch.where(right, middle + 1, low)
            high = torch.where(right, high, middle)
        held, chunks = self.held[cell], self.chunks[cell]
        rank = torch.minimum(low - first, held - 1)
        # The inverse of number * held // chunks, which is where chunks begin.
        return ((rank + 1) * chunks - 1) // held

    def _cells(self, x: Tensor, part: Tensor, probes: int) -> Tensor:
        """Return the cells whose directions each vector points to most."""
        half = self.directions.shape[1]
        probes = min(probes, half)
        out = torch.empty(len(x), probes, dtype=torch.long, device=x.device)
        uneven = bool((self.num_buckets != 2 * half).any())
        places = torch.arange(half, device=x.device)
        for rows in row_blocks(len(x), half):
            shadow = x[rows] @ self.directions
            size = shadow.abs()
            if uneven:
                size.masked_fill_(places >= self.num_buckets[part[rows], None] // 2, -1.0)
            at = size.argmax(1, keepdim=True) if probes == 1 else largest(size[None], probes)[0]
            opposite = (shadow.gather(1, at) < 0).long()
            # A part of few buckets has fewer than `probes`: its first is asked again.
            at = at.masked_fill(size.gather(1, at) < 0, 0)
            out[rows] = self.base[part[rows], None] + 2 * at + opposite
        return out


def _rotations(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return `count` directions, `[extended, count]`, from as many random rotations as it takes."""
    width = like.shape[1]
    made: list[Tensor] = []
    for _ in range(-(-count // width)):
        normal = torch.randn(width, width, generator=generator, dtype=torch.float64, device=generator.device)
        made.append(torch.linalg.qr(normal)[0])
    return torch.cat(made, dim=1)[:, :count].to(like)


def _part_of(spans: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(spans), device=spans.device), spans.diff()[:, 0])

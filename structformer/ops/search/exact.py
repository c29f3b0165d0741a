"""Exact top-k inner product inside every set of a batch, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.search import limits
from structformer.ops.search.select import ascending, largest

# Sets are padded to the largest of their bucket, and sizes in a bucket differ by less than this factor.
_BUCKET_RATIO = 1.3
# Resolution of scores in double precision, relative to the largest possible: about 1e-10. Powers of two
# keep common exact values (0, 1/2, 1) in the middle of a cell, away from the edge where rounding decides.
TIE_STEPS = 2.0**33


@dataclass(frozen=True)
class Found:
    """The sources found for some targets.

    Attributes:
        row: `[n]` targets.
        col: `[n, k]` sources, ascending; places without a source come last and hold `num_sources`.
        count: `[n]` sources found for each target, or None when all are `k`.
    """

    row: Int[Tensor, "n"]
    col: Int[Tensor, "n k"]
    count: Int[Tensor, "n"] | None


@dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        query: One vector a target.
        key: One vector a source.
        rows: `[parts, 2]` first target of each part and the one after its last.
        cols: `[parts, 2]` the same for the sources that its targets are compared with.
        k: Sources wanted for each target; a searched part has more candidates than this.
        causal: Only sources up to the target itself.
        skip_self: The target itself is no candidate.
        add_self: The target itself is added to what was found.
        target: The target that each query stands for; None where all are searched in order.
    """

    query: Float[Tensor, "targets affinity"]
    key: Float[Tensor, "sources affinity"]
    rows: Int[Tensor, "parts 2"]
    cols: Int[Tensor, "parts 2"]
    k: int
    causal: bool
    skip_self: bool
    add_self: bool
    target: Int[Tensor, "targets"] | None = None

    def run(self) -> list[Found]:
        """Search all parts; parts of similar size go through one padded product."""
        return [self._block(*block) for block in blocks(self.rows.diff()[:, 0], self.cols.diff()[:, 0])]

    def _block(self, parts: Tensor, place_of_row: range, num_cols: int) -> Found:
        """Search some rows of every given part among its sources, at most `num_cols`."""
        start, end = self.rows[parts].split(1, dim=1)
        first, last = self.cols[parts].split(1, dim=1)
        row = start + torch.arange(place_of_row.start, place_of_row.stop, device=start.device)
        col = first + torch.arange(num_cols, device=start.device)
        # Padding reads some token of another set: as a source it is masked below, as a target dropped.
        readable = row.clamp(max=self.query.shape[0] - 1)
        query = self.query[readable]
        key = self.key[col.clamp(max=self.key.shape[0] - 1)]
        padding = None if bool((last - first == num_cols).all()) else (col >= last)[:, None]
        scores = torch.bmm(query, key.mT)
        if scores.dtype == torch.float64:
            scores = _ranked(scores, query, key, padding)
        low = lowest(scores.dtype)
        if padding is not None:
            scores.masked_fill_(padding, low)
        target = row if self.target is None else self.target[readable]
        self._forbid(scores, target, first, low)
        index = largest(scores, min(self.k, num_cols))
        chosen = index + first[..., None]
        if self.causal:  # early rows have fewer candidates than k
            chosen = chosen.masked_fill(scores.gather(2, index) == low, self.key.shape[0])
        if self.add_self:
            chosen = torch.cat([chosen, target[..., None]], dim=2)
        inside = (row < end).flatten()
        target, chosen = target.flatten(), chosen.flatten(0, 1)
        if not bool(inside.all()):
            target, chosen = target[inside], chosen[inside]
        chosen = ascending(chosen)
        return Found(target, chosen, (chosen < self.key.shape[0]).sum(1) if self.causal else None)

    def _forbid(self, scores: Tensor, target: Tensor, first: Tensor, low: float | int) -> None:
        """Lower the scores of sources that a target must not listen to."""
        if not (self.causal or self.skip_self):
            return
        own = target - first
        if bool((own == own[:1]).all()):
            own = own[:1]  # one mask for the whole batch
        place = torch.arange(scores.shape[2], device=scores.device)
        if self.causal:
            scores.masked_fill_(place > own[..., None], low)
        if self.skip_self:
            own = own.clamp(max=scores.shape[2] - 1).expand(scores.shape[0], -1)
            scores.scatter_(2, own[..., None], low)


def blocks(
    num_rows: Int[Tensor, "parts"], num_cols: Int[Tensor, "parts"], block: int | None = None
) -> Iterator[tuple[Tensor, range, int]]:
    """Cut the comparison of every part's rows with its columns into blocks of bounded size.

    Args:
        num_rows: Rows of each part.
        num_cols: Columns of each part.
        block: Most scores in a block of more than one row; None is `limits.BLOCK`.

    Yields:
        Some parts of similar size, the places of the rows to compare, and the most columns of any of them.
    """
    block = limits.BLOCK if block is None else block
    sizes = torch.stack([num_rows, num_cols], dim=1)
    parts = ((num_rows > 0) & (num_cols > 0)).nonzero().flatten()
    sizes = sizes[parts]
    buckets, member = (
        (sizes.double().log() / torch.tensor(_BUCKET_RATIO).double().log())
        .floor()
        .unique(dim=0, return_inverse=True)
    )
    for bucket in range(buckets.shape[0]):
        inside = member == bucket
        rows, cols = (int(n) for n in sizes[inside].amax(0))
        step = max(1, block // (rows * cols))
        for some in parts[inside].split(step):
            height = max(1, block // cols)
            for start in range(0, rows, height):
                yield some, range(start, min(start + height, rows)), cols


def lowest(dtype: torch.dtype) -> float | int:
    """Return the value below all others."""
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


def _ranked(scores: Tensor, query: Tensor, key: Tensor, padding: Tensor | None) -> Tensor:
    """Replace scores by integers in the same order, all different: equal scores rank by place.

    The last bits of a product depend on the shape of the batch that it was computed in, so scores are
    first rounded, in units of the largest value that the row could take within its own set.
    """
    length = key.norm(dim=-1)
    if padding is not None:
        length = length.masked_fill(padding[:, 0], 0.0)
    largest_possible = query.norm(dim=-1, keepdim=True) * length.amax(-1)[:, None, None]
    unit = (largest_possible / TIE_STEPS).masked_fill_(largest_possible == 0, 1.0)
    places = scores.shape[2]
    rank = scores.div_(unit).round_().long()
    return rank.mul_(places).sub_(torch.arange(places, device=rank.device))

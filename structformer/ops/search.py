"""Exact top-k inner product inside every set of a batch, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# Scores held at once: 16 MB in float32, which stays in the last-level cache of a common machine.
BLOCK = 1 << 22
# Threads up to which numpy selects faster than torch.
FEW_THREADS = 4
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
        ptr: Boundaries of the targets' sets.
        key_ptr: Boundaries of the sources' sets.
        k: Sources wanted for each target; a searched set has more candidates than this.
        causal: Only sources up to the target's own place in the set.
        skip_self: The target itself is no candidate.
        add_self: The target itself is added to what was found.
    """

    query: Float[Tensor, "targets affinity"]
    key: Float[Tensor, "sources affinity"]
    ptr: Int[Tensor, "pointers"]
    key_ptr: Int[Tensor, "pointers"]
    k: int
    causal: bool
    skip_self: bool
    add_self: bool

    def run(self, sets: Int[Tensor, "some"]) -> list[Found]:
        """Search the given sets; sets of similar size go through one padded product."""
        rows, cols = self.ptr.diff()[sets], self.key_ptr.diff()[sets]
        sizes = torch.stack([rows, cols], dim=1)[rows > 0]
        sets = sets[rows > 0]
        buckets, member = (
            (sizes.double().log() / torch.tensor(_BUCKET_RATIO).double().log())
            .floor()
            .unique(dim=0, return_inverse=True)
        )
        found: list[Found] = []
        for bucket in range(buckets.shape[0]):
            inside = member == bucket
            num_rows, num_cols = (int(n) for n in sizes[inside].amax(0))
            step = max(1, BLOCK // (num_rows * num_cols))
            for some in sets[inside].split(step):
                found += [self._block(some, part, num_cols) for part in _row_blocks(num_rows, num_cols)]
        return found

    def _block(self, sets: Tensor, part: range, num_cols: int) -> Found:
        """Search rows `part` of every given set among its sources, at most `num_cols`."""
        start, end = self.ptr[sets, None], self.ptr[sets + 1, None]
        first, last = self.key_ptr[sets, None], self.key_ptr[sets + 1, None]
        row = start + torch.arange(part.start, part.stop, device=start.device)
        place = torch.arange(num_cols, device=start.device)
        col = first + place
        # Padding reads some token of another set: as a source it is masked below, as a target dropped.
        query = self.query[row.clamp(max=self.query.shape[0] - 1)]
        key = self.key[col.clamp(max=self.key.shape[0] - 1)]
        padding = None if bool((last - first == num_cols).all()) else (col >= last)[:, None]
        scores = torch.bmm(query, key.mT)
        if scores.dtype == torch.float64:
            scores = _ranked(scores, query, key, padding)
        lowest = _lowest(scores.dtype)
        if padding is not None:
            scores.masked_fill_(padding, lowest)
        if self.causal:
            later = place > torch.arange(part.start, part.stop, device=place.device)[:, None]
            scores.masked_fill_(later, lowest)
        if self.skip_self:
            scores.diagonal(part.start, dim1=1, dim2=2).fill_(lowest)
        index = _largest(scores, self.k)
        chosen = index + first[..., None]
        if self.causal:  # early rows have fewer candidates than k
            chosen = chosen.masked_fill(scores.gather(2, index) == lowest, self.key.shape[0])
        if self.add_self:
            chosen = torch.cat([chosen, row[..., None]], dim=2)
        inside = (row < end).flatten()
        row, chosen = row.flatten(), chosen.flatten(0, 1)
        if not bool(inside.all()):
            row, chosen = row[inside], chosen[inside]
        chosen = _ascending(chosen)
        return Found(row, chosen, (chosen < self.key.shape[0]).sum(1) if self.causal else None)


def _row_blocks(num_rows: int, num_cols: int) -> Iterator[range]:
    step = max(1, BLOCK // num_cols)
    for start in range(0, num_rows, step):
        yield range(start, min(start + step, num_rows))


def _prefers_numpy(x: Tensor) -> bool:
    # numpy selects and sorts short rows with vector instructions, 3 to 6 times faster than torch does
    # in one thread; torch shares the rows among threads, and is as fast on long rows.
    return x.device.type == "cpu" and x.shape[-1] <= 1024 and torch.get_num_threads() <= FEW_THREADS


def _largest(scores: Tensor, k: int) -> Tensor:
    """Places of the k largest scores of each row, in any order."""
    if not _prefers_numpy(scores):
        return scores.topk(k, sorted=False).indices
    rest = scores.shape[2] - k
    return torch.from_numpy(np.argpartition(scores.numpy(), rest, axis=2)[..., rest:])


def _ascending(x: Tensor) -> Tensor:
    """Sort each row."""
    return torch.from_numpy(np.sort(x.numpy(), axis=1)) if _prefers_numpy(x) else x.sort(dim=1).values


def _lowest(dtype: torch.dtype) -> float | int:
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


def _ranked(scores: Tensor, query: Tensor, key: Tensor, padding: Tensor | None) -> Tensor:
    """Replace scores by integers in the same order, all different: equal scores rank by place.

    The last bits of a product depend on the shape of the batch that it was computed in, so scores are
    first rounded, in units of the largest value that the row could take within its own set.
    """
    length = key.norm(dim=-1)
    if padding is not None:
        length = length.masked_fill(padding[:, 0], 0.0)
    largest = query.norm(dim=-1, keepdim=True) * length.amax(-1)[:, None, None]
    unit = (largest / TIE_STEPS).masked_fill_(largest == 0, 1.0)
    places = scores.shape[2]
    rank = scores.div_(unit).round_().long()
    return rank.mul_(places).sub_(torch.arange(places, device=rank.device))

"""Which targets an approximate search compares with which sources: whole sets, or stretches of time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """An approximate search.

    Attributes:
        query: One vector a target, in single precision.
        key: One vector a source, in single precision.
        rows: `[parts, 2]` first target of each part and the one after its last.
        cols: `[parts, 2]` the same for its sources.
        k: Sources wanted for each target.
        causal: Only sources up to the target itself.
        skip_self: The target itself is no candidate.
        is_square: Whether sources are the targets, set by set.
    """

    query: Float[Tensor, "targets affinity"]
    key: Float[Tensor, "sources affinity"]
    rows: Int[Tensor, "parts 2"]
    cols: Int[Tensor, "parts 2"]
    k: int
    causal: bool
    skip_self: bool
    is_square: bool

    def targets(self) -> Int[Tensor, "n"]:
        """Return the targets of all parts, one part after the other."""
        return spread(self.rows)

    def allowed(self, target: Tensor, source: Tensor) -> Tensor:
        """Tell which sources (of the target's part) a target may listen to."""
        allowed = torch.ones(1, dtype=torch.bool, device=target.device)
        if self.causal:
            allowed = allowed & (source <= target)
        if self.skip_self:
            allowed = allowed & (source != target)
        return allowed

    def num_candidates(self) -> Int[Tensor, "n"]:
        """Return for each target how many sources it may listen to, at most k."""
        first, last = self.cols.repeat_interleave(self.rows.diff()[:, 0], dim=0).unbind(1)
        last = torch.minimum(last, self.targets() + 1) if self.causal else last
        return (last - first - int(self.skip_self)).clamp(max=self.k)


def in_time(
    rows: Int[Tensor, "sets 2"], cols: Int[Tensor, "sets 2"], least: int
) -> tuple[Int[Tensor, "early 2"], Int[Tensor, "parts 2"], Int[Tensor, "parts 2"]]:
    """Halve causal sets until no more than `least` tokens are left.

    Of the sources of a part, its targets, the later half, may listen to one half at least: what an
    approximate search finds among all of them holds enough that a target may listen to.

    Returns:
        The early targets of each set, to be searched exactly, and the targets and sources of each part.
    """
    first, last = rows.unbind(1)
    later: list[Tensor] = []
    sources: list[Tensor] = []
    while True:
        large = last - first > least
        if not bool(large.any()):
            break
        middle = torch.where(large, (first + last) // 2, last)
        later.append(torch.stack([middle, last], dim=1)[large])
        sources.append(torch.stack([first, last], dim=1)[large])
        last = middle
    early = torch.stack([first, last], dim=1)
    if not later:
        return early, rows[:0], cols[:0]
    return early, torch.cat(later), torch.cat(sources)


def spread(spans: Int[Tensor, "parts 2"]) -> Int[Tensor, "n"]:
    """Return the numbers from each span's first to the one before its last, one span after the other."""
    sizes = spans.diff()[:, 0]
    total = int(sizes.sum())
    shift = spans[:, 0] - (sizes.cumsum(0) - sizes)
    return torch.arange(total, device=spans.device) + shift.repeat_interleave(sizes, output_size=total)

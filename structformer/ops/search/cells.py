"""Comparing every target with the sources in its cells of a random hash."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.ops.search import limits
from structformer.ops.search.best import EMPTY, Best, encode
from structformer.ops.search.exact import blocks
from structformer.ops.search.hashing import Buckets
from structformer.ops.search.parts import Parts
from structformer.ops.search.select import largest, order


def offer_cells(parts: Parts, target: Int[Tensor, "rows"], buckets: Buckets, best: Best, probes: int) -> None:
    """Offer every target the best sources in each of the cells it probes."""
    spans = buckets.key_spans()
    for chunk in buckets.probe(probes).unbind(1):
        row = order(chunk)
        row = row[int((chunk < 0).sum()) :]
        count = torch.bincount(chunk[row], minlength=len(spans))
        start = count.cumsum(0) - count
        # One place more than k: the target itself may be among what is found, and is taken out last.
        width = parts.k + int(parts.skip_self)
        found = torch.full((len(target), width), EMPTY, device=row.device)
        for some, part, num_cols in blocks(count, spans.diff()[:, 0], limits.CACHED):
            at = start[some, None] + torch.arange(part.start, part.stop, device=row.device)
            here = at < (start + count)[some, None]
            rows = row[at.clamp(max=len(row) - 1)]
            codes = _compare(parts, target[rows], buckets.source, spans[some], num_cols, width)
            found[rows[here], : codes.shape[2]] = codes[here]
        best.offer(found)


def _compare(
    parts: Parts, target: Tensor, source: Tensor, spans: Tensor, num_cols: int, width: int
) -> Tensor:
    """Return the best sources of each chunk for the targets in it, `[chunks, targets, at most width]`."""
    at = spans[:, :1] + torch.arange(num_cols, device=spans.device)
    beyond = at >= spans[:, 1:]
    cols = source[at.clamp(max=len(source) - 1)]
    scores = torch.bmm(parts.query[target], parts.key[cols].mT)
    if bool(beyond.any()):
        scores.masked_fill_(beyond[:, None], float("-inf"))
    if parts.causal:
        scores.masked_fill_(cols.int()[:, None] > target.int()[..., None], float("-inf"))
    place = largest(scores, min(width, num_cols))
    chosen = cols[:, None].expand_as(scores).gather(2, place)
    codes = encode(scores.gather(2, place), chosen)
    return codes.masked_fill_(chosen == target[..., None], EMPTY) if parts.skip_self else codes

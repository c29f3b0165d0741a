"""The largest scores of each row of a CSR matrix."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.ops.rows import Rows
from structformer.ops.segment import check_rowptr

# Scores so many roundings apart count as equal: the same product, taken elsewhere in a batch, may end on other bits.
_TIE = 64


@torch.no_grad()
def segment_top(
    scores: Float[Tensor, "edges *heads"], rowptr: Int[Tensor, "pointers"], k: int
) -> Bool[Tensor, "edges *heads"]:
    """Return whether each score is among the k largest of its row, head by head.

    Nothing but the scores decides: those equal to the k-th largest, up to rounding, are all among the largest,
    so that a row of many equal scores keeps more than k. A row of at most k keeps all, and nan is always
    kept. Memory is O(edges · heads), however uneven the rows.

    Args:
        scores: One score an edge, or one an edge and head.
        rowptr: Where each row's edges begin and end.
        k: How many to keep.

    Raises:
        ValueError: If k is less than 1, or `rowptr` does not describe `scores`.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 (got {k})")
    check_rowptr(scores, rowptr)
    rows = Rows(rowptr, scores.shape[0], degree=None)
    # A rounding of half precision is so coarse that scores far apart would tie.
    x = rows.enter(scores.to(torch.promote_types(scores.dtype, torch.float32)))
    least = _kth_largest(x, rowptr, k)
    unit = _TIE * torch.finfo(x.dtype).eps
    # Asked the other way round, a nan would be dropped unseen.
    too_small = x < rows.spread(least - unit * (1 + least.abs()))
    return rows.leave(~too_small, scores.ndim)


def _kth_largest(
    x: Float[Tensor, "heads edges"], rowptr: Int[Tensor, "pointers"], k: int
) -> Float[Tensor, "heads pointers-1"]:
    """Find the k-th largest score of each row, −∞ where there are not more than k.

    Rows up to twice as long as each other are padded to the same length and sorted together: at most
    twice the edges are held, and selecting in dense rows takes a tenth of the time of sorting edges by row.
    """
    degree = rowptr.diff()
    least = x.new_full((x.shape[0], degree.numel()), float("-inf"))
    longest = int(degree.max()) if degree.numel() else 0
    shorter = k
    while shorter < longest:
        (some,) = ((degree > shorter) & (degree <= 2 * shorter)).nonzero(as_tuple=True)
        if some.numel():
            step = torch.arange(int(degree[some].max()), device=x.device)
            inside = step < degree[some, None]
            place = torch.where(inside, rowptr[some, None] + step, 0)
            padded = (
                x.index_select(1, place.flatten()).view(-1, *place.shape).masked_fill_(~inside, float("-inf"))
            )
            least[:, some] = padded.topk(k, dim=-1, sorted=False).values.amin(-1)
        shorter *= 2
    return least

"""How much of what an exact search finds another search has found."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Scores this close, relative to the lengths of the vectors, are equal.
_TIE = 1e-6


def share_found(
    query: Float[Tensor, "rows affinity"],
    key: Float[Tensor, "sources affinity"],
    found: Int[Tensor, "rows places"],
    exact: Int[Tensor, "rows k"],
) -> Float[Tensor, "rows"]:
    """Return, for each row, the share of its exact sources that were found.

    A source that scores as high as the last of the exact ones counts like it, so that among ties any choice is
    right. Places without a source hold the number of sources; a row without exact sources has share 1.
    """
    wanted = (exact < len(key)).sum(1)
    own, others = _scores(query, key, exact), _scores(query, key, found)
    last = own.masked_fill(exact >= len(key), float("inf")).amin(1, keepdim=True)
    near = _TIE * query.norm(dim=1, keepdim=True) * key.norm(dim=1).max() if len(key) else last
    right = (found < len(key)) & (others >= last - near)
    share = torch.minimum(right.sum(1), wanted) / wanted.clamp(min=1)
    return torch.where(wanted == 0, 1.0, share)


def _scores(query: Tensor, key: Tensor, cols: Tensor) -> Tensor:
    if not len(key):
        return query.new_zeros(cols.shape)
    return torch.bmm(key[cols.clamp(max=len(key) - 1)], query[:, :, None])[..., 0]

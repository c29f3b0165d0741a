"""Features most of which are zero, as edges from features to tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.nn.dropout import Dropout
from structformer.ops import edge_sum

MANY = 64
"""Features from which on it pays to leave zeros out."""

SHARE = 0.05
"""Share of numbers other than zero up to which it pays."""


def sparse_features(x: Float[Tensor, "tokens features"]) -> TokenGraph | None:
    """Return which token has which feature, the value as the edge's weight; None where that would not be faster.

    A linear map of it costs one multiplication for each value that is not zero, where a matrix product takes all.
    """
    if x.shape[1] < MANY or x.numel() == 0:
        return None
    there = x != 0
    count = there.sum(1)
    if int(count.sum()) > SHARE * x.numel():
        return None
    rowptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    col = there.nonzero()[:, 1]
    return TokenGraph(rowptr, col, num_sources=x.shape[1], weight=x[there])


def sparse_linear(
    features: TokenGraph,
    weight: Float[Tensor, "outputs features"],
    bias: Float[Tensor, "outputs"] | None = None,
    dropout: Dropout | None = None,
) -> Float[Tensor, "tokens outputs"]:
    """Return x Wᵀ + b, where ``dropout`` may have dropped some of x; nothing is told to x going back.

    Args:
        features: What `sparse_features` returns.
        weight: W.
        bias: b.
        dropout: Of the features; zeros stay zero.
    """
    assert features.weight is not None
    value = features.weight.to(weight.dtype)
    if dropout is not None:
        value = dropout(value)
    out = edge_sum(value[:, None], weight.t().contiguous()[:, None], features).squeeze(1)
    return out if bias is None else out + bias

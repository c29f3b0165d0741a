"""Read-outs: from the tokens of a set to vectors for the whole set."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.nn.linear import Linear
from structformer.ops import segment_max, segment_softmax, segment_sum


class SetPooling(nn.Module):
    """Attention pooling with learned seeds (PMA of Set Transformer, arXiv 1810.00825, eq. 11).

    Seed m of head h weighs the tokens of a set by softmax_i(⟨s_mh, k_i⟩/√C) and sums their values.
    Beside it stand the mean and the largest value of each feature, which attention represents badly.
    The result does not depend on the order of the tokens. An empty set reads as zeros before
    the last linear map.

    Args:
        width: Features of a token, D.
        heads: Attention heads; must divide ``width``.
        seeds: Learned queries a head.
    """

    def __init__(self, width: int, heads: int = 4, seeds: int = 1) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide width (got heads={heads}, width={width})")
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1 (got {seeds})")
        self.heads, self.seeds = heads, seeds
        self.seed = nn.Parameter(torch.randn(heads, seeds, width // heads))
        self.key = Linear(width, width, bias=False)
        self.value = Linear(width, width)
        self.output = Linear(width * (seeds + 2), width)

    def forward(
        self, h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "pointers-1 width"]:
        """Return one vector a set."""
        key = self.key(h).unflatten(-1, (self.heads, -1))
        value = self.value(h)
        scores = torch.einsum("thc,hmc->thm", key, self.seed) / math.sqrt(key.shape[-1])
        weights = segment_softmax(scores.flatten(1), ptr).view_as(scores)
        by_head = value.unflatten(-1, (self.heads, -1))
        pooled = segment_sum((weights[..., None] * by_head[:, :, None]).flatten(1), ptr)
        size = (ptr[1:] - ptr[:-1]).clamp(min=1)[:, None].to(value.dtype)
        mean = segment_sum(value, ptr) / size
        return self.output(torch.cat([pooled, mean, segment_max(value, ptr)], dim=-1))

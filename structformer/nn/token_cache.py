"""Token cache: what a token was a few steps ago, for itself to look back at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.nn.linear import Linear


class TokenCache(nn.Module):
    """Each token attends over its own recent states (ReSSFormer, arXiv 2510.01585; mathematics.md, 5).

    With states c_1 … c_n of the token's last steps, out = W_o Σ_s softmax_s(⟨W_q h, W_k c_s⟩/√C + b_a) W_v c_s, head
    by head, where a is how many steps ago c_s was and b a learned bias a head. No token sees another.

    Args:
        width: Features of a token, D.
        heads: Attention heads; must divide ``width``.
        size: Steps that are remembered.
    """

    def __init__(self, width: int, heads: int = 4, size: int = 2) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide width (got heads={heads}, width={width})")
        if size < 1:
            raise ValueError(f"size must be at least 1 (got {size})")
        self.heads, self.size = heads, size
        self.norm = nn.LayerNorm(width)
        self.query, self.key = Linear(width, width), Linear(width, width, bias=False)
        self.value, self.output = Linear(width, width), Linear(width, width)
        self.age = nn.Parameter(torch.zeros(size, heads))

    def forward(
        self, h: Float[Tensor, "tokens width"], recent: Sequence[Float[Tensor, "tokens width"]]
    ) -> Float[Tensor, "tokens width"]:
        """Return what each token finds among its own states.

        Args:
            h: States that look back.
            recent: Earlier states, oldest first; of more than ``size`` the last count. At least one.

        Raises:
            ValueError: If there is no earlier state.
        """
        if not recent:
            raise ValueError("recent is empty: at least 1 earlier state is needed")
        past = self.norm(torch.stack(list(recent[-self.size :]), dim=1))
        heads = self.heads, -1
        query = self.query(self.norm(h)).unflatten(-1, heads)
        key, value = self.key(past).unflatten(-1, heads), self.value(past).unflatten(-1, heads)
        scores = torch.einsum("thc,tshc->tsh", query, key) / math.sqrt(query.shape[-1])
        # The last row of `age` belongs to the state of the step just before.
        weights = (scores + self.age[-past.shape[1] :]).softmax(1)
        return self.output(torch.einsum("tsh,tshc->thc", weights, value).flatten(1))

"""The Transformer: causal attention among all tokens, with rotary positions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .text import Mixer, TextConfig, TextModel


def rotate(
    x: Float[Tensor, "*heads length channels"], base: float = 10_000.0
) -> Float[Tensor, "*heads length channels"]:
    """Turn each pair of channels by an angle that grows with the position (Su et al. 2021, arXiv 2104.09864, eq. 34).

    The pair c at position i is turned by i · base^(−2c/channels), so that the product of two turned vectors depends on
    how far apart they stand, not on where. A pair is a channel of the first half and its counterpart in the second.

    Raises:
        ValueError: If the channels are odd.
    """
    length, channels = x.shape[-2:]
    if channels % 2:
        raise ValueError(f"channels must be even to be rotated in pairs (got {channels})")
    # Short numbers of mixed precision do not tell late positions apart.
    exact = {"dtype": torch.promote_types(x.dtype, torch.float32), "device": x.device}
    pair, position = torch.arange(channels // 2, **exact), torch.arange(length, **exact)
    angle = position[:, None] * base ** (-2 * pair / channels)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class RotaryAttention(Mixer):
    """out_i = W_o Σ_{j ≤ i} softmax_j(⟨q_i, k_j⟩/√C) v_j, head by head, with turned q and k (see `rotate`).

    Args:
        config: What the arms share.
        rotary: Whether queries and keys are turned; without, attention does not know how far away a token is.
    """

    def __init__(self, config: TextConfig, rotary: bool = True) -> None:
        super().__init__()
        self.heads, self.rotary = config.heads, rotary
        if rotary and config.channels % 2:
            raise ValueError(f"width / heads must be even to be rotated in pairs (got {config.channels})")
        self.project = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return what each token heard."""
        query, key, value = (to_heads(part, self.heads) for part in self.project(x).chunk(3, dim=-1))
        if self.rotary:
            query, key = rotate(query), rotate(key)
        heard = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.output(from_heads(heard)), first


def to_heads(
    x: Float[Tensor, "batch length width"], heads: int
) -> Float[Tensor, "batch heads length channels"]:
    """Return each head's features, heads before positions."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def from_heads(x: Float[Tensor, "batch heads length channels"]) -> Float[Tensor, "batch length width"]:
    """Return the heads side by side again."""
    return x.transpose(1, 2).flatten(2)


class RotaryTransformer(TextModel):
    """The Transformer decoder (Vaswani et al. 2017, arXiv 1706.03762) with rotary positions."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, [RotaryAttention(config) for _ in range(config.layers)])

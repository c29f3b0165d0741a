"""The Transformer encoder over packed tokens: all hear all of their set, with rotary positions or without any."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.nn.feedforward import FeedForward
from structformer.ops.segment import row_index

from .rotary import from_heads, rotate, to_heads


class BidirectionalBlock(nn.Module):
    """Pre-norm block (Vaswani et al. 2017, arXiv 1706.03762) with rotary positions (Su et al. 2021, arXiv 2104.09864).

    Args:
        width: Features of a token.
        heads: Attention heads.
        rotary: Whether queries and keys are turned by their positions; without, no order is heard.
        expansion: Hidden features of the gated feed-forward network as a multiple of ``width``.
        dropout: Probability of dropping a feature.
    """

    def __init__(self, width: int, heads: int, rotary: bool, expansion: float, dropout: float) -> None:
        super().__init__()
        if heads < 1 or width % heads or (rotary and (width // heads) % 2):
            raise ValueError(
                f"width / heads must be a whole, and for rotary an even number (got {width}, {heads})"
            )
        self.heads, self.rotary = heads, rotary
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = FeedForward(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, h: Float[Tensor, "sets length width"], there: Bool[Tensor, "sets length"]
    ) -> Float[Tensor, "sets length width"]:
        """Return the next states; what is not there is heard by nobody."""
        parts = self.project(self.norm_attention(h)).chunk(3, dim=-1)
        query, key, value = (to_heads(part, self.heads) for part in parts)
        if self.rotary:
            query, key = rotate(query), rotate(key)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        h = h + self.dropout(self.output(from_heads(heard)))
        return h + self.dropout(self.feed(self.norm_feed(h).flatten(0, 1)).view_as(h))


class BidirectionalEncoder(nn.Module):
    """Blocks one after the other over the sets of a packed batch, which are padded.

    Args:
        width: Features of a token.
        heads: Attention heads.
        layers: Blocks.
        rotary: As in `BidirectionalBlock`.
        expansion: Likewise.
        dropout: Likewise.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        rotary: bool = True,
        expansion: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            BidirectionalBlock(width, heads, rotary, expansion, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "tokens width"]:
        """Return the final states of the tokens of each set; their order in the set is their position."""
        owner = row_index(ptr, len(h))
        place = torch.arange(len(h), device=h.device) - ptr[owner]
        shape = len(ptr) - 1, int(ptr.diff().max())
        padded = h.new_zeros(*shape, h.shape[1]).index_put((owner, place), h)
        there = torch.zeros(shape, dtype=torch.bool, device=h.device)
        there[owner, place] = True
        for block in self.blocks:
            padded = block(padded, there)
        return self.norm(padded[owner, place])

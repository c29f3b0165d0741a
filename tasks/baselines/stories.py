"""Dense rivals over the sentences of stories: every sentence attends to every other one of its story."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.models.ressformer import Reasoned
from structformer.nn.feedforward import FeedForward
from structformer.nn.r2mu import Thought, step_embedding
from structformer.nn.set_dropout import SetDropout
from structformer.ops.segment import row_index

from .rotary import from_heads, to_heads


class DenseBlock(nn.Module):
    """Pre-norm block of the Transformer encoder (Vaswani et al. 2017, arXiv 1706.03762), feed-forward gated."""

    def __init__(self, width: int, heads: int, expansion: float, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = FeedForward(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Float[Tensor, "sets length width"],
        there: Bool[Tensor, "sets length"],
        drop: SetDropout | None = None,
    ) -> Float[Tensor, "sets length width"]:
        """Return the next states; what is not there is heard by nobody."""
        parts = self.project(self.norm_attention(h)).chunk(3, dim=-1)
        query, key, value = (to_heads(part, self.heads) for part in parts)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        heard = self.dropout(self.output(from_heads(heard))).flatten(0, 1)
        h = h + (heard if drop is None else drop(heard, "attention")).view_as(h)
        change = self.dropout(self.feed(self.norm_feed(h).flatten(0, 1), drop))
        return h + (change if drop is None else drop(change, "feed-forward")).view_as(h)


class DenseEncoder(nn.Module):
    """A Transformer encoder over packed sets, or with one block for all steps a Universal Transformer's.

    Args:
        width: Features of a token.
        heads: Attention heads.
        steps: Blocks one after the other, or times that the one block is applied.
        shared: Whether there is one block (Dehghani et al. 2019, arXiv 1807.03819); each step is then told its number.
        expansion: Hidden features of the feed-forward network as a multiple of ``width``.
        dropout: Probability of dropping a feature.
        set_dropout: Probability of dropping a feature of all tokens of a set, by one block in all its steps.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        steps: int,
        shared: bool,
        expansion: float = 2.0,
        dropout: float = 0.0,
        set_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.steps, self.shared, self.set_dropout = steps, shared, set_dropout
        count = 1 if shared else steps
        self.blocks = nn.ModuleList(DenseBlock(width, heads, expansion, dropout) for _ in range(count))
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]) -> Reasoned:
        """Return the final states of the tokens of each set."""
        owner = row_index(ptr, len(h))
        place = torch.arange(len(h), device=h.device) - ptr[owner]
        shape = len(ptr) - 1, int(ptr.diff().max())
        drops = self._drops(ptr, shape)
        if drops is not None:
            h = SetDropout(self.set_dropout, ptr, len(h))(h, "first states")
        padded = h.new_zeros(*shape, h.shape[1]).index_put((owner, place), h)
        there = torch.zeros(shape, dtype=torch.bool, device=h.device).index_put(
            (owner, place), torch.ones((), dtype=torch.bool, device=h.device)
        )
        for step in range(self.steps):
            number = 0 if self.shared else step
            drop = None if drops is None else drops[number]
            told = padded + step_embedding(step, h) if self.shared else padded
            padded = self.blocks[number](told, there, drop)
        steps = torch.full((len(h),), self.steps, device=h.device)
        return Reasoned(self.norm(padded[owner, place]), [], Thought(h, None, steps))

    def _drops(self, ptr: Int[Tensor, "pointers"], shape: tuple[int, int]) -> list[SetDropout] | None:
        if not self.training or not self.set_dropout:
            return None
        sets, length = shape
        bounds = torch.arange(sets + 1, device=ptr.device) * length
        return [SetDropout(self.set_dropout, bounds, sets * length) for _ in self.blocks]

"""Segment memory: a few slots a set that tokens write through a gate and read by cross-attention."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.nn.linear import Linear
from structformer.ops import edge_sum, segment_softmax, sparse_attention
from structformer.ops.segment import row_index


class SegmentMemory(nn.Module):
    """M slots a set, written through one gate a slot (ReSSFormer, arXiv 2510.01585; mathematics.md, 5).

    Writing: each slot's seed s_m pools the states, Ŝ_m = Σ_i softmax_i(⟨s_m, W_k h_i⟩/√C) W_v h_i, head by head;
    α = σ(W_α [S, Ŝ]) ∈ [0, 1]^M and S ← α ⊙ S + (1 − α) ⊙ Ŝ. Reading: tokens attend over the slots of their own
    set. Neither knows the order of the tokens, and sets never meet.

    Args:
        width: Features of a token, D.
        heads: Attention heads; must divide ``width``.
        slots: Slots a set, M.
        gated: False writes Ŝ over S (the gate is fixed at 0), for comparison.
    """

    def __init__(self, width: int, heads: int = 4, slots: int = 8, gated: bool = True) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide width (got heads={heads}, width={width})")
        if slots < 1:
            raise ValueError(f"slots must be at least 1 (got {slots})")
        self.heads, self.slots, self.gated = heads, slots, gated
        self.first = nn.Parameter(0.02 * torch.randn(slots, width))
        self.seed = nn.Parameter(torch.randn(slots, heads, width // heads))
        self.write_norm, self.read_norm, self.slot_norm = (nn.LayerNorm(width) for _ in range(3))
        self.write_key, self.write_value = Linear(width, width, bias=False), Linear(width, width)
        self.gate = Linear(2 * width, 1) if gated else None
        self.read_query = Linear(width, width)
        self.read_key, self.read_value = Linear(width, width, bias=False), Linear(width, width)
        self.read_output = Linear(width, width)

    def start(self, sets: int) -> Float[Tensor, "sets slots width"]:
        """Return the memory of sets that have read nothing yet."""
        return self.first.expand(sets, -1, -1)

    def write(
        self,
        memory: Float[Tensor, "sets slots width"],
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
    ) -> tuple[Float[Tensor, "sets slots width"], Float[Tensor, "sets slots"]]:
        """Return the memory after reading the tokens, and how far each slot's gate kept what was there.

        The memory of an empty set stays as it was.
        """
        slots, kept, _ = self.write_with_weights(memory, h, ptr)
        return slots, kept

    def write_with_weights(
        self,
        memory: Float[Tensor, "sets slots width"],
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
    ) -> tuple[Float[Tensor, "sets slots width"], Float[Tensor, "sets slots"], Float[Tensor, "tokens slots"]]:
        """Return the same, and each slot's weights on the tokens that it pooled, averaged over heads.

        A slot's weights on the tokens of a set sum to one.
        """
        found, weights = self._pooled(self.write_norm(h), ptr)
        if self.gate is None:
            kept = memory.new_zeros(memory.shape[:2])
        else:
            kept = self.gate(torch.cat([memory, found], dim=-1)).sigmoid().squeeze(-1)
        kept = torch.where((ptr.diff() > 0)[:, None], kept, torch.ones_like(kept))
        slots = kept[..., None] * memory + (1 - kept[..., None]) * found
        return slots, kept, weights.unflatten(1, (self.slots, self.heads)).mean(-1)

    def read(
        self,
        memory: Float[Tensor, "sets slots width"],
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
    ) -> Float[Tensor, "tokens width"]:
        """Return what each token finds in the slots of its set."""
        out, _ = self.read_with_weights(memory, h, ptr)
        return out

    def read_with_weights(
        self,
        memory: Float[Tensor, "sets slots width"],
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
    ) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, "tokens slots"]]:
        """Return the same, and each token's weights on the slots, averaged over heads."""
        slots = self.slot_norm(memory).flatten(0, 1)
        out, weights = sparse_attention(
            self._heads(self.read_query(self.read_norm(h))),
            self._heads(self.read_key(slots)),
            self._heads(self.read_value(slots)),
            self._to_slots(ptr, len(h)),
            return_weights=True,
        )
        return self.read_output(out.flatten(1)), weights.mean(1).view(len(h), self.slots)

    def _pooled(
        self, x: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]
    ) -> tuple[Float[Tensor, "sets slots width"], Float[Tensor, "tokens slots_heads"]]:
        key = F.normalize(self._heads(self.write_key(x)), dim=-1) * x.shape[1] ** 0.25
        scores = torch.einsum("thc,mhc->tmh", key, self.seed).flatten(1)
        weights = segment_softmax(scores, ptr)
        # One sum over each set a slot: all at once would hold every value as often as there are slots.
        graph = TokenGraph(ptr, torch.arange(len(x), device=ptr.device), num_sources=len(x))
        value = self._heads(self.write_value(x))
        sums = [edge_sum(weight, value, graph) for weight in weights.split(self.heads, dim=1)]
        return torch.stack(sums, dim=1).flatten(2), weights

    def _to_slots(self, ptr: Int[Tensor, "pointers"], tokens: int) -> TokenGraph:
        own = row_index(ptr, tokens)[:, None] * self.slots + torch.arange(self.slots, device=ptr.device)
        rowptr = torch.arange(tokens + 1, device=ptr.device) * self.slots
        return TokenGraph(rowptr, own.flatten(), num_sources=(len(ptr) - 1) * self.slots)

    def _heads(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n heads channels"]:
        return x.unflatten(-1, (self.heads, -1))

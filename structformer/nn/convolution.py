"""Short convolution: each token mixed with the few that come just before it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.nn.packed import set_bounds
from structformer.ops.segment import row_index
from structformer.ops.short_convolution import short_convolution, short_convolution_serves


class ShortConvolution(nn.Module):
    """Causal depthwise convolution along the tokens of each set (as in H3, arXiv 2212.14052, section 3).

    out_i = Σ_{d < size} w_d ⊙ h_{i−d} over tokens of i's own set, nothing where there is none. It is linear, begins
    near the identity, and is one of the few places where the order of text enters.

    Args:
        width: Features of a token, D.
        size: Tokens that are mixed, the token itself among them.
    """

    NOISE = 0.02

    def __init__(self, width: int, size: int = 3) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1 (got {width})")
        if size < 1:
            raise ValueError(f"size must be at least 1 (got {size})")
        self.width, self.size = width, size
        weight = self.NOISE * torch.randn(size, width)
        weight[0] = 1.0
        self.weight = nn.Parameter(weight)

    def start(self, sets: int) -> Float[Tensor, "sets history width"]:
        """Return the state of sets that have read nothing yet."""
        return self.weight.new_zeros(sets, self.size - 1, self.width)

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        state: Float[Tensor, "sets history width"] | None = None,
    ) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, "sets history width"]]:
        """Return the mixed tokens, and the last ``size - 1`` inputs of each set, with which it can be continued.

        Args:
            h: Tokens.
            ptr: Boundaries of the sets; None is one set.
            state: What an earlier call returned for the same sets; None begins anew.

        Raises:
            ValueError: If ``ptr`` does not fit the tokens, or ``state`` the sets.
        """
        ptr = set_bounds(ptr, h)
        past, sets = self.size - 1, len(ptr) - 1
        state = self.start(sets) if state is None else state
        if tuple(state.shape) != (sets, past, self.width):
            wanted = [sets, past, self.width]
            raise ValueError(f"state must be [sets, size - 1, width], {wanted} (got {list(state.shape)})")
        if short_convolution_serves(h, self.weight, state):
            return short_convolution(h, self.weight, ptr, state)
        # Each set's tokens behind its earlier inputs, in one line: no window then reaches into another set.
        number, back = torch.arange(sets, device=h.device), torch.arange(past, device=h.device)
        place = torch.arange(len(h), device=h.device) + (row_index(ptr, len(h)) + 1) * past
        earlier = (ptr[:-1] + number * past)[:, None] + back
        order = torch.cat([earlier.flatten(), place]).argsort()
        line = torch.cat([state.flatten(0, 1), h]).index_select(0, order)
        out = self.weight[0] * line[past:]
        for d in range(1, self.size):
            out = torch.addcmul(out, self.weight[d], line[past - d : len(line) - d])
        return out.index_select(0, place - past), line[(ptr[1:] + number * past)[:, None] + back]

    def extra_repr(self) -> str:
        """Show the sizes where the module is printed."""
        return f"width={self.width}, size={self.size}"

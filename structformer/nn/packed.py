"""Packed sets: boundaries checked, and sets cut into chunks that are worked on side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.segment import row_index


def set_bounds(
    ptr: Int[Tensor, "pointers"] | None, h: Float[Tensor, "tokens width"]
) -> Int[Tensor, "bounds"]:
    """Return the boundaries of the sets, one set where none are given.

    Raises:
        ValueError: If they do not rise from 0 to the number of tokens.
    """
    if ptr is None:
        return torch.tensor([0, len(h)], device=h.device)
    if ptr.numel() == 0 or int(ptr[0]) != 0 or int(ptr[-1]) != len(h) or bool((ptr.diff() < 0).any()):
        raise ValueError(f"ptr must rise from 0 to the number of tokens, {len(h)} (got {ptr.tolist()})")
    return ptr


@dataclass(frozen=True)
class ChunkLayout:
    """Where the tokens of packed sets stand when each set is cut into chunks.

    All first chunks come first, those of the longest sets ahead, then all second chunks, and so on: what goes from
    chunk to chunk is then taken a step further for all sets at once, and short sets cost nothing once they have
    ended. Only the last chunk of a set is filled up.

    Attributes:
        chunk: Tokens a chunk, no more than the longest set has.
        place: Where each token stands among ``chunk * sum(active)`` places.
        active: Sets that have a first chunk, a second, and so on.
        order: The sets, longest first.
    """

    chunk: int
    place: Int[Tensor, "tokens"]
    active: list[int]
    order: Int[Tensor, "sets"]

    @classmethod
    def of(cls, ptr: Int[Tensor, "pointers"], chunk: int) -> ChunkLayout:
        """Cut the sets into chunks of so many tokens."""
        length = ptr.diff()
        longest = int(length.max()) if len(length) else 0
        chunk = max(1, min(chunk, longest))
        chunks = (length + chunk - 1) // chunk
        order = chunks.argsort(descending=True, stable=True)
        active = len(chunks) - chunks.bincount(minlength=1).cumsum(0)[:-1]
        owner = row_index(ptr, int(ptr[-1]))
        offset = torch.arange(len(owner), device=ptr.device) - ptr[owner]
        number = (active.cumsum(0) - active)[offset // chunk] + order.argsort()[owner]
        return cls(chunk, number * chunk + offset % chunk, active.tolist(), order)

    def enter(self, x: Float[Tensor, "tokens heads *rest"]) -> Float[Tensor, "chunks heads chunk *rest"]:
        """Bring rows into chunks, with zeros where a chunk has no token."""
        places = self.chunk * sum(self.active)
        padded = x.new_zeros(places, *x.shape[1:]).index_copy(0, self.place, x)
        return padded.unflatten(0, (-1, self.chunk)).transpose(1, 2).contiguous()

    def leave(self, x: Float[Tensor, "chunks heads chunk *rest"]) -> Float[Tensor, "tokens heads *rest"]:
        """Undo `enter`."""
        return x.transpose(1, 2).flatten(0, 1).index_select(0, self.place)

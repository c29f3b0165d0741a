"""Lanes: texts read side by side, piece by piece."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from structformer.ops.segment import row_index


@dataclass(frozen=True)
class Piece:
    """What all lanes read next, packed lane by lane.

    Attributes:
        ids: Tokens to read.
        targets: The token that follows each.
        ptr: Boundaries of the lanes.
        fresh: Lanes where a text begins, so that what is remembered of the one before must be forgotten.
    """

    ids: Int[Tensor, "tokens"]
    targets: Int[Tensor, "tokens"]
    ptr: Int[Tensor, "pointers"]
    fresh: Bool[Tensor, "lanes"]

    def to(self, device: torch.device) -> Piece:
        """Return the same on another device."""
        return Piece(*(x.to(device) for x in vars(self).values()))


class Lanes:
    """Walk through documents in several lanes at once, over and over.

    The documents, laid one behind the other, are cut into lanes of equal length. A lane is read in pieces of
    ``segment`` tokens, each going on where the last one ended. A piece ends early where its document does: no token is
    foretold from another document, and segments stand in a document as they do when it is read from its beginning.
    A lane that has ended begins again.

    Args:
        documents: Tokens of each document, at least two: the first is foretold by nothing.
        lanes: How many are read side by side.
        segment: Most tokens of a piece.

    Raises:
        ValueError: If there is no document, one is too short, a number is less than 1, or there are fewer tokens to
            foretell than lanes.
    """

    def __init__(self, documents: Sequence[Int[Tensor, "_"]], lanes: int, segment: int) -> None:
        for name, value in (("lanes", lanes), ("segment", segment)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")
        if not documents:
            raise ValueError("documents is empty: at least 1 document is needed")
        short = [number for number, ids in enumerate(documents) if len(ids) < 2]
        if short:
            got = len(documents[short[0]])
            raise ValueError(f"documents must have at least 2 tokens each (got {got} in number {short[0]})")
        self.segment = segment
        self.ids = torch.cat(list(documents)).cpu()
        # Places count tokens to read; the last one of each document is a target alone.
        sizes = torch.tensor([len(ids) - 1 for ids in documents])
        self.document_ends = sizes.cumsum(0)
        if len(self) < lanes:
            raise ValueError(
                f"documents must hold a token to foretell for each of {lanes} lanes (got {len(self)})"
            )
        bounds = torch.arange(lanes + 1) * len(self) // lanes
        self.begins, self.ends = bounds[:-1], bounds[1:]
        self.place = self.begins.clone()

    def __len__(self) -> int:
        """Tokens to foretell, in one pass over all lanes."""
        return int(self.document_ends[-1])

    def take(self) -> Piece:
        """Return the next piece of every lane, and go on behind it."""
        document = torch.searchsorted(self.document_ends, self.place, right=True)
        begins = torch.where(document > 0, self.document_ends[document - 1], 0)
        fresh = (self.place == begins) | (self.place == self.begins)
        end = torch.minimum(self.place + self.segment, self.document_ends[document])
        end = torch.minimum(end, self.ends)
        size = end - self.place
        ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
        lane = row_index(ptr, int(ptr[-1]))
        # Before a place lies, besides the places before it, one target for each document that has ended.
        row = torch.arange(len(lane)) + (self.place + document - ptr[:-1])[lane]
        self.place = torch.where(end == self.ends, self.begins, end)
        return Piece(self.ids[row], self.ids[row + 1], ptr, fresh)

    @property
    def digest(self) -> str:
        """What tells these documents from others."""
        found = hashlib.sha256(self.ids.numpy().tobytes())
        found.update(self.document_ends.numpy().tobytes())
        return found.hexdigest()

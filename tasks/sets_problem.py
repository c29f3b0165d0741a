"""What a problem on sets is: sets drawn at random, what an answer to them costs, and how good it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.ops.segment import row_index

# Numbers count as changed from here on, in units of the outputs, whose spread is about 1.
CHANGED = 1e-3
# Sets judged at a time.
EACH = 50


@dataclass(frozen=True)
class SetBatch:
    """Sets, packed one after another, and what is to be said of each.

    Attributes:
        x: Features of the tokens, or the pixels of images.
        ptr: Boundaries of the sets.
        target: One row a set.
    """

    x: Float[Tensor, "tokens features"]
    ptr: Int[Tensor, "pointers"]
    target: Tensor

    @property
    def index(self) -> Int[Tensor, "tokens"]:
        """The set of each token."""
        return row_index(self.ptr, len(self.x))

    def shuffled(self, drawn: torch.Generator) -> SetBatch:
        """Return the same sets with their tokens in random order."""
        order = (self.index + torch.rand(len(self.x), dtype=torch.float64, generator=drawn)).argsort()
        return replace(self, x=self.x[order])

    def double(self) -> SetBatch:
        """Return the same sets in double precision."""
        return replace(self, x=self.x.double())


class Problem(ABC):
    """One number, class or distribution to be told from a set.

    Attributes:
        features: Of a token.
        outputs: Numbers that a network says of a set.
        parts: That outputs tell of, side by side and alike.
        large: Whether sets have tens or hundreds of tokens.
        side: Of a token that is a square image; None for other tokens.
    """

    features: int
    outputs: int
    parts: ClassVar[int] = 1
    large: ClassVar[bool] = False
    side: int | None = None

    @abstractmethod
    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return so many sets of a part of the data: `TRAINING`, `VALIDATION` or `TEST` of `sweeps`."""

    def draw_many(self, part: int, sets: int, drawn: torch.Generator) -> list[SetBatch]:
        """Return sets to judge by, in batches."""
        return [self.draw(part, min(EACH, sets - first), drawn) for first in range(0, sets, EACH)]

    @abstractmethod
    def loss(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return what training makes small."""

    @abstractmethod
    def score(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> float:
        """Return how good the answers are; more is better."""

    def changed(
        self, outputs: Float[Tensor, "sets outputs"], others: Float[Tensor, "sets outputs"]
    ) -> Bool[Tensor, " sets"]:
        """Return of which sets two answers are not the same: by default, numbers further apart than `CHANGED`."""
        return ((outputs - others).abs() > CHANGED).any(1)


def boundaries(sizes: Int[Tensor, " sets"]) -> Int[Tensor, "pointers"]:
    """Return the boundaries of sets of these sizes."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def joined(batches: Sequence[SetBatch]) -> SetBatch:
    """Return several batches as one."""
    sizes = torch.cat([batch.ptr.diff() for batch in batches])
    x, target = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("x", "target"))
    return SetBatch(x, boundaries(sizes), target)

"""State tracking: which permutation a row of permutations amounts to, after each of them.

The word problem of the symmetric group (Merrill et al. 2024, arXiv 2404.08819, section 5): of 5 elements, S5,
it is beyond constant-depth circuits; of 2 elements, where 1 swaps and 0 does not, it is the parity of bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class StateTrackingConfig:
    """What an example looks like.

    Attributes:
        elements: Elements that are permuted: 2 is parity, 5 is S5.
        length: Permutations in a row. Models are trained on one length and tested on longer ones.
    """

    elements: int = 5
    length: int = 32

    def __post_init__(self) -> None:
        # The table of products has (elements!)² entries.
        if not 2 <= self.elements <= 6:
            raise ValueError(f"elements must be between 2 and 6 (got {self.elements})")
        if self.length < 1:
            raise ValueError(f"length must be at least 1 (got {self.length})")

    @property
    def symbols(self) -> int:
        """Number of permutations: there are as many inputs as states."""
        return math.factorial(self.elements)


@dataclass(frozen=True)
class StateTrackingData:
    """Examples of one shape.

    Attributes:
        inputs: Permutations, numbered in lexicographic order: 0 leaves all as it is.
        targets: At each position the permutation that all up to and with it amount to.
    """

    inputs: Int[Tensor, "examples length"]
    targets: Int[Tensor, "examples length"]


def draw_state_tracking(
    config: StateTrackingConfig, examples: int, generator: torch.Generator
) -> StateTrackingData:
    """Draw rows of permutations, each uniform and independent, and follow the state.

    Args:
        config: The shape of an example.
        examples: How many, at least 1.
        generator: Draws them; the same state gives the same examples.

    Raises:
        ValueError: `examples` is less than 1.
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1 (got {examples})")
    inputs = torch.randint(config.symbols, (examples, config.length), generator=generator)
    return StateTrackingData(inputs, follow(inputs, config.elements))


def follow(inputs: Int[Tensor, "examples length"], elements: int) -> Int[Tensor, "examples length"]:
    """Return the state s_t = p_t ∘ s_{t−1} after each permutation p_t, from s_0 = identity."""
    table = composition_table(elements)
    targets = torch.empty_like(inputs)
    state = torch.zeros(len(inputs), dtype=inputs.dtype)
    for position in range(inputs.shape[1]):
        state = table[inputs[:, position], state]
        targets[:, position] = state
    return targets


def composition_table(elements: int) -> Int[Tensor, "symbols symbols"]:
    """Return the number of p ∘ q (q first, then p) in row p and column q."""
    every = torch.tensor(list(permutations(range(elements))))
    # Row p, column q: element i goes to p[q[i]].
    composed = every[:, every]
    # Read as digits, permutations ascend in lexicographic order, so that a search finds their numbers.
    digits = elements ** torch.arange(elements - 1, -1, -1)
    return torch.searchsorted((every * digits).sum(-1), (composed * digits).sum(-1))

"""MQAR, multi-query associative recall: keys with their values, then the keys again as questions.

As HazyResearch/zoology draws it (Arora et al. 2023, arXiv 2312.04927, section 3 and its published code).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# The target of positions that are not asked about: what cross_entropy leaves out by default.
IGNORED = -100


@dataclass(frozen=True)
class MQARConfig:
    """What an example looks like.

    Attributes:
        length: Tokens of an example; even, and at least four a pair.
        pairs: Keys with a value, P; each is asked for once.
        vocabulary: Tokens there are, V. Keys come from 1 to V/2 − 1, values from V/2 to V − 1.
        power: Exponent a of the gaps: a key is asked for in place g = 1, 2, ... after the pairs with
            a probability ∝ g^(a−1). 1 is uniform; near 0 most are asked for early.
        random_fill: Whether positions without a question hold tokens drawn from the whole vocabulary,
            or zeros.
    """

    length: int = 64
    pairs: int = 4
    vocabulary: int = 8_192
    power: float = 0.01
    random_fill: bool = True

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs must be at least 1 (got {self.pairs})")
        if self.length % 2 or self.length < 4 * self.pairs:
            raise ValueError(
                f"length must be even and at least 4 * pairs = {4 * self.pairs} (got {self.length})"
            )
        if self.vocabulary < 2 * self.pairs + 2:
            raise ValueError(
                f"vocabulary must be at least 2 * pairs + 2 = {2 * self.pairs + 2}, so that there are as many keys "
                f"(got {self.vocabulary})"
            )
        if not self.power > 0:
            raise ValueError(f"power must be positive (got {self.power})")

    @property
    def places(self) -> int:
        """Places a question can stand in: every second position after the pairs."""
        return self.length // 2 - self.pairs


# Length and pairs that models are trained on, and those they are tested on besides.
TRAIN_CONFIGS = tuple(
    MQARConfig(length, pairs) for length, pairs in ((64, 4), (128, 8), (256, 16), (256, 32), (256, 64))
)
TEST_CONFIGS = (*TRAIN_CONFIGS, MQARConfig(512, 128), MQARConfig(1_024, 256))


@dataclass(frozen=True)
class MQARData:
    """Examples of one shape.

    Attributes:
        inputs: Tokens: key, value, key, value, ..., then keys among filling.
        targets: At the position of a question its value, elsewhere `IGNORED`. The value itself does not
            follow in the inputs.
    """

    inputs: Int[Tensor, "examples length"]
    targets: Int[Tensor, "examples length"]


def draw_mqar(config: MQARConfig, examples: int, generator: torch.Generator) -> MQARData:
    """Draw examples, all independent of each other.

    Args:
        config: The shape of an example.
        examples: How many, at least 1.
        generator: Draws them; the same state gives the same examples.

    Raises:
        ValueError: `examples` is less than 1.
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1 (got {examples})")
    half, pairs = config.vocabulary // 2, config.pairs
    keys = 1 + _different(half - 1, (examples, pairs), generator)
    values = half + _different(config.vocabulary - half, (examples, pairs), generator)
    asked = 2 * pairs + 2 * _places(config, examples, generator)
    shape = (examples, config.length)
    if config.random_fill:
        inputs = torch.randint(config.vocabulary, shape, generator=generator)
    else:
        inputs = torch.zeros(shape, dtype=torch.long)
    inputs[:, 0 : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = keys, values
    inputs.scatter_(1, asked, keys)
    return MQARData(inputs, torch.full(shape, IGNORED).scatter_(1, asked, values))


def _different(
    size: int, shape: tuple[int, int], generator: torch.Generator
) -> Int[Tensor, "examples pairs"]:
    """Draw rows of different numbers below `size`, every such row as likely as any other."""
    drawn = torch.randint(size, shape, generator=generator)
    while True:
        # Redrawing the later ones of equal numbers treats all numbers alike, so that rows stay uniform;
        # it needs no memory for all the numbers that could have been drawn.
        ordered, place = drawn.sort(dim=1, stable=True)
        again = torch.zeros(shape, dtype=torch.bool)
        again.scatter_(1, place[:, 1:], ordered.diff(dim=1) == 0)
        count = int(again.sum())
        if not count:
            return drawn
        drawn[again] = torch.randint(size, (count,), generator=generator)


def _places(config: MQARConfig, examples: int, generator: torch.Generator) -> Int[Tensor, "examples pairs"]:
    """Draw for one key after the other a place that is still free, by the power law."""
    weights = torch.arange(1, config.places + 1, dtype=torch.float64) ** (config.power - 1)
    # Exponential clocks of these rates ring in the order of draws without replacement.
    clocks = torch.empty(examples, config.places, dtype=torch.float64).exponential_(generator=generator)
    return (clocks / weights).topk(config.pairs, largest=False, sorted=True).indices

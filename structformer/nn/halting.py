"""Halting: tokens stop thinking when they are done, each after as many steps as it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.nn.linear import Linear

HaltingRule = Literal["act", "convergence"]


@dataclass
class Halted:
    """How far the tokens are.

    Attributes:
        total: Probability with which each token has halted so far, 1 where it has for good.
        output: What each token returns, as far as it is known.
        steps: Steps that each token took.
        ponder: The steps each token took plus the remainder of its last one: what a ponder loss makes small.
    """

    total: Float[Tensor, "tokens"]
    output: Float[Tensor, "tokens width"]
    steps: Int[Tensor, "tokens"]
    ponder: Float[Tensor, "tokens"]

    @property
    def all(self) -> bool:
        """Whether no token goes on."""
        return bool((self.total >= 1).all())


class Halting(nn.Module):
    """When a token's thinking ends.

    "act" is adaptive computation time (Graves 2016, arXiv 1603.08983; for each token as in the Universal
    Transformer, 1807.03819): after every step a token halts with probability p = σ(w·h + b), and its result is
    the mean of its states under the distribution of where it halts; it is done when less than ``threshold`` is left,
    and what is left goes to that step. "convergence" halts a token whose state moved by less than ``threshold`` of
    its length; nothing is learned. A rule looks at one token at a time, so that sets do not meet and nothing is
    heard from later tokens.

    Args:
        width: Features of a token, D.
        rule: "act" or "convergence".
        threshold: See above; None is 0.01 for "act" and 0.05 for "convergence".
    """

    def __init__(self, width: int, rule: str = "act", threshold: float | None = None) -> None:
        super().__init__()
        if rule not in ("act", "convergence"):
            raise ValueError(f'rule must be "act" or "convergence" (got {rule!r})')
        usual = 0.01 if rule == "act" else 0.05
        self.rule = rule
        self.threshold = usual if threshold is None else threshold
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1 (got {threshold})")
        self.probability = Linear(width, 1) if rule == "act" else None

    def start(self, h: Float[Tensor, "tokens width"]) -> Halted:
        """Return the beginning: nobody has halted."""
        none = h.new_zeros(len(h))
        return Halted(none, torch.zeros_like(h), none.long(), none)

    def step(
        self,
        state: Halted,
        before: Float[Tensor, "tokens width"],
        after: Float[Tensor, "tokens width"],
        last: bool,
    ) -> Halted:
        """Return how far the tokens are after one more step.

        Args:
            state: How far they were.
            before: States before the step.
            after: States after it.
            last: Whether the step is the last there is, at which all halt.
        """
        going = state.total < 1
        chance = self._chance(before, after)
        left = 1 - state.total
        done = going & ((left - chance < self.threshold) | last)
        share = torch.where(done, left, torch.where(going, chance, 0.0))
        # The sum of what was given away can miss 1 by a rounding error: who is done has halted for good.
        total = torch.where(done, 1.0, state.total + share)
        return Halted(
            total=total,
            output=state.output + share[:, None] * after,
            steps=state.steps + going.long(),
            ponder=state.ponder + going.to(after.dtype) + torch.where(done, left, 0.0),
        )

    def _chance(self, before: Tensor, after: Tensor) -> Float[Tensor, "tokens"]:
        if self.probability is not None:
            return self.probability(after).squeeze(-1).sigmoid()
        moved = (after - before).detach().norm(dim=-1)
        return (moved < self.threshold * after.detach().norm(dim=-1)).to(after.dtype)

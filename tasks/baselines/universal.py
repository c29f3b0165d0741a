"""The Universal Transformer: one block, applied again and again, for as long as a token needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.nn.halting import Halting
from structformer.nn.r2mu import step_embedding

from .rotary import RotaryAttention
from .text import Block, TextConfig, TextModel, TextOutput


@dataclass(frozen=True)
class UniversalConfig:
    """What the Universal Transformer has beside what the arms share.

    Attributes:
        halting: Whether tokens halt when they are done (adaptive computation time); else all take every step.
        threshold: Probability ε that may be left when a token halts.
    """

    halting: bool = False
    threshold: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1 (got {self.threshold})")


class UniversalTransformer(TextModel):
    """One shared block of rotary attention, unrolled ``layers`` times (Dehghani et al. 2019, arXiv 1807.03819).

    Before step t all states get the sinusoidal embedding of t (the paper's equation 6, where positions are in it too;
    here attention turns queries and keys instead).

    With halting (Graves 2016, arXiv 1603.08983, equations 5 to 8 and 12; for each token as in section 2.2 of the paper)
    a token halts after step n with probability p_n = σ(w·h_n + b), and is done at the first step N at which
    p_1 + … + p_N ≥ 1 − ε, at the last at the latest. What is left of 1 before step N, the remainder R, is the weight
    of its state there; its result is p_1 h_1 + … + p_{N−1} h_{N−1} + R h_N. Later tokens go on hearing h_N. The ponder
    cost N + R, returned by `run`, belongs into the loss times a weight τ of the task's choice.

    Args:
        config: What the arms share; ``layers`` is the number of steps.
        own: What only this one has; None is its defaults.
    """

    def __init__(self, config: TextConfig, own: UniversalConfig | None = None) -> None:
        own = UniversalConfig() if own is None else own
        super().__init__(config, [RotaryAttention(config)])
        self.halting = Halting(config.width, "act", own.threshold) if own.halting else None
        self.whole = False

    def applied(self) -> list[Block]:
        """Return the one block as often as it is applied."""
        return [self.blocks[0]] * self.config.layers

    def run(
        self, ids: Int[Tensor, "batch length"], where: Bool[Tensor, "batch length"] | None = None
    ) -> TextOutput:
        """Return the scores, and with halting the steps that each token took and its ponder cost."""
        h = self.embed(ids)
        if self.halting is not None:
            return self._until_halted(h, where, self.halting)
        for step in range(self.config.layers):
            h = self._step(h, step)
        return TextOutput(self.read(h, where))

    def flops(self, length: int) -> float:
        """Return the operations a token as `TextModel.flops`; with halting those of all steps, the most there are."""
        self.whole = True
        try:
            return super().flops(length)
        finally:
            self.whole = False

    def _step(self, h: Float[Tensor, "batch length width"], step: int) -> Float[Tensor, "batch length width"]:
        return self.blocks[0](h + step_embedding(step, h[0]))[0]

    def _until_halted(
        self,
        h: Float[Tensor, "batch length width"],
        where: Bool[Tensor, "batch length"] | None,
        halting: Halting,
    ) -> TextOutput:
        shape, last = h.shape[:2], self.config.layers - 1
        state = halting.start(h.flatten(0, 1))
        for step in range(self.config.layers):
            going = (state.total < 1).view(*shape, 1)
            before, h = h, torch.where(going, self._step(h, step), h)
            state = halting.step(state, before.flatten(0, 1), h.flatten(0, 1), last=step == last)
            if state.all and not self.whole:
                break
        logits = self.read(state.output.view_as(h), where)
        return TextOutput(logits, state.steps.view(shape), state.ponder.view(shape))

"""The arms of the text tasks by name: our model and its rivals, with one interface and equal sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig

from .baselines.counting import forward_flops
from .baselines.gated_delta import GatedDeltaNet
from .baselines.lsh import LSHTransformer
from .baselines.rotary import RotaryTransformer
from .baselines.rwkv7 import RWKV7
from .baselines.text import TextConfig, TextModel, TextOutput
from .baselines.universal import UniversalConfig, UniversalTransformer

ATTENTION, RSA, BOTH = "ressformer", "ressformer, rsa", "ressformer, both"
OURS = {ATTENTION: "attention", RSA: "rsa", BOTH: "both"}


class ReSSFormerArm(nn.Module):
    """Our language model behind the interface of the rivals: rows of a batch are the texts of a packed batch."""

    def __init__(self, config: ReSSFormerLMConfig) -> None:
        super().__init__()
        self.model = ReSSFormerLM(config)

    @property
    def num_parameters(self) -> int:
        """Numbers that training changes; a tied head's count once."""
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def state_size(self) -> int | None:
        """Numbers a text that are kept to go on from; None where they become more with every token."""
        config = self.model.config
        if config.attends:
            return None
        layer = self.model.blocks[0]
        lines = max(config.convolution - 1, 0) + (layer.shift is not None)
        recurrence = layer.recurrence.state_size + lines * config.width
        return config.steps * config.depth * recurrence + config.slots * config.width

    def forward(self, ids: Int[Tensor, "batch length"]) -> Tensor:
        """Return scores of the next token, after each token."""
        return self.run(ids).logits

    def run(
        self, ids: Int[Tensor, "batch length"], where: Bool[Tensor, "batch length"] | None = None
    ) -> TextOutput:
        """Return the scores, of all tokens or those asked for, with all that the model has to say beside them."""
        batch, length = ids.shape
        ptr = torch.arange(batch + 1, device=ids.device) * length
        found = self.model(ids.flatten(), ptr, where=None if where is None else where.flatten())
        logits, ponder = found.logits, found.thought.ponder
        if where is None:
            logits = logits.view(batch, length, -1)
        return TextOutput(
            logits,
            found.thought.steps.view(batch, length),
            None if ponder is None else ponder.view(batch, length),
            found.loss,
        )

    def flops(self, length: int) -> float:
        """Return the operations a token of a forward pass over a text of so many tokens; see `forward_flops`."""
        ids = torch.zeros(1, length, dtype=torch.long, device=self.model.embedding.weight.device)
        return forward_flops(self, ids) / length


Arm = TextModel | ReSSFormerArm

RIVALS: dict[str, Callable[[TextConfig], TextModel]] = {
    "transformer": RotaryTransformer,
    "universal transformer": UniversalTransformer,
    "universal transformer, halting": lambda config: UniversalTransformer(
        config, UniversalConfig(halting=True)
    ),
    "gated deltanet": GatedDeltaNet,
    "rwkv-7": RWKV7,
    "lsh": LSHTransformer,
}
ARMS = (*OURS, *RIVALS)


def build(name: str, config: TextConfig, ours: ReSSFormerLMConfig) -> Arm:
    """Return an untrained arm.

    Args:
        name: One of `ARMS`.
        config: Sizes that all arms share. Our models repeat their ``depth`` blocks until they are ``layers`` in all.
        ours: What our models have besides; the sizes in it give way to those of ``config``.

    Raises:
        ValueError: If there is no such arm, or our ``depth`` does not divide ``layers``.
    """
    if name in RIVALS:
        return RIVALS[name](config)
    if name not in OURS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)} (got {name!r})")
    if config.layers % ours.depth:
        raise ValueError(f"depth must divide layers, {config.layers} (got {ours.depth})")
    return ReSSFormerArm(
        replace(
            ours,
            mixer=OURS[name],
            vocabulary=config.vocabulary,
            width=config.width,
            heads=config.heads,
            steps=config.layers // ours.depth,
            expansion=config.expansion,
            convolution=config.convolution,
            dropout=config.dropout,
            tied=config.tied,
        )
    )

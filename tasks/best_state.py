"""The weights of a training that were best on validation data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .training import Losses


class BestState:
    """Looks at validation data every so many updates, and keeps the weights that scored best.

    Args:
        model: What is trained.
        validate: Returns its score, more being better; called in evaluation mode and without gradients.
        every: Updates between two looks.

    Raises:
        ValueError: If every is below 1.
    """

    def __init__(self, model: nn.Module, validate: Callable[[], float], every: int) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 (got {every})")
        self.model, self.validate, self.every = model, validate, every
        self.score, self.update = float("-inf"), 0
        self._kept: dict[str, Any] = {}

    def watching(self, losses: Callable[[int], Losses]) -> Callable[[int], Losses]:
        """Return the losses for `structformer.tasks.training.train`, with a look before every so many updates."""

        def watched(update: int) -> Losses:
            if update and update % self.every == 0:
                self.look(update)
            return losses(update)

        return watched

    def look(self, update: int) -> None:
        """Score the weights as they are, and keep them if none was better before."""
        self.model.eval()
        with torch.no_grad():
            score = self.validate()
        self.model.train()
        if score > self.score:
            self.score, self.update = score, update
            self._kept = copy.deepcopy(self.model.state_dict())

    def restore(self, update: int) -> float:
        """Look for the last time, put the best weights in their place, and return their score."""
        self.look(update)
        self.model.load_state_dict(self._kept)
        self.model.eval()
        return self.score

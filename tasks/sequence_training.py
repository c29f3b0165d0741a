"""Text arms on batches with questions: their losses while they train, and their accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from .mqar_data import IGNORED
from .sequence_arms import Arm
from .training import Losses

# Weight of the mean ponder cost, for arms that halt.
PONDER = 1e-3


@dataclass(frozen=True)
class Batch:
    """Texts with what is asked about them.

    Attributes:
        inputs: Tokens.
        targets: What to say after each token, `IGNORED` where nothing is asked.
    """

    inputs: Int[Tensor, "batch length"]
    targets: Int[Tensor, "batch length"]


def answer_losses(arm: Arm, draw: Callable[[int], Batch]) -> Callable[[int], Losses]:
    """Return what the batch of an update costs an arm, as `structformer.tasks.training.train` wants it."""

    def losses(update: int) -> Losses:
        batch = draw(update)
        where = batch.targets != IGNORED
        output = arm.run(batch.inputs, where)
        total = answers = F.cross_entropy(output.logits, batch.targets[where])
        if output.ponder is not None:
            total = total + PONDER * output.ponder.mean()
        if output.loss is not None:
            total = total + output.loss
        return Losses(total, float(answers.detach()))

    return losses


@torch.no_grad()
def accuracy(arm: Arm, batches: Iterable[Batch]) -> float:
    """Return the share of questions whose answer scores highest.

    Raises:
        ValueError: If nothing is asked.
    """
    arm.eval()
    right = asked = 0
    for batch in batches:
        where = batch.targets != IGNORED
        answers = arm.run(batch.inputs, where).logits.argmax(-1)
        right += int((answers == batch.targets[where]).sum())
        asked += int(where.sum())
    if not asked:
        raise ValueError("batches must ask for something (got no targets)")
    return right / asked

"""What the optimizer is told: which parameters decay, and how learning rate and average move."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Weights = tuple[Tensor, ...] | list[Tensor]

FLOOR = 0.01
"""Least factor on the learning rate, so that no step is wasted."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters into those that decay (matrices of linear maps) and the others."""
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in matrices], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def running_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """Return the ``multi_avg_fn`` of an exponential moving average that starts as a plain mean.

    With a fixed decay the initial weights would weigh on the average of a short training.
    """

    def update(average: Weights, current: Weights, seen: Tensor | int) -> None:
        kept = min(decay, 1 - 1 / (1 + float(seen)))
        get_ema_multi_avg_fn(kept)(average, current, seen)

    return update


def schedule(share: float, warmup: float) -> float:
    """Return the factor on the learning rate: linear rise, then half a cosine, never below `FLOOR`.

    Args:
        share: Share of training that is over, from 0 to 1.
        warmup: Share over which the factor rises.
    """
    if share < warmup:
        return max(share / warmup, FLOOR)
    rest = min(1.0, (share - warmup) / max(1e-9, 1 - warmup))
    return max(FLOOR, 0.5 * (1 + math.cos(math.pi * rest)))

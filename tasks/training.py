"""Training of a benchmark's arms: one way for all of them, taken up where it was cut short."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.tokenize.files import replacing
from structformer.training.optimizer import parameter_groups, schedule

# Seconds between two states on disk.
SAVED_EVERY = 120


@dataclass(frozen=True)
class Losses:
    """What one batch costs.

    Attributes:
        total: What training makes small.
        noted: What the curve shows, without what halting and routing add.
    """

    total: Float[Tensor, ""]
    noted: float


@dataclass(frozen=True)
class TrainingSettings:
    """How arms are trained: AdamW, a linear rise of the learning rate, then half a cosine.

    Attributes:
        updates: Batches seen.
        learning_rate: At its highest.
        warmup: Share of the updates over which it rises.
        weight_decay: Of matrices.
        clip: Largest norm of a gradient.
        noted: Updates over which noted losses and norms are means.
    """

    updates: int = 2_000
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    noted: int = 50

    def __post_init__(self) -> None:
        for name in ("updates", "noted"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive (got {self.learning_rate})")


@dataclass
class Curve:
    """How a training went.

    Attributes:
        loss: Mean losses of so many updates each.
        norm: Mean gradient norms, before clipping.
        seconds: How long it took, all sittings together.
        cpu_seconds: How long the cores worked on it, all sittings together.
        diverged: Update at which the loss or its gradient was no number any more, and training ended; else None.
    """

    loss: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    seconds: float = 0.0
    diverged: int | None = None
    cpu_seconds: float = 0.0

    def costs(self) -> dict[str, float]:
        """Return what training took, all sittings together, under the names that results have for it."""
        return {"seconds": round(self.seconds, 1), "cpu seconds": round(self.cpu_seconds, 1)}

    def record(self) -> dict[str, Any]:
        """Return what results tell of a training."""
        return {
            "loss": self.loss[-1] if self.loss else None,
            "diverged": self.diverged,
            **self.costs(),
            "curve": self.loss,
            "norms": self.norm,
        }


def train(
    arm: nn.Module,
    losses: Callable[[int], Losses],
    settings: TrainingSettings,
    checkpoint: Path | None = None,
) -> Curve:
    """Train an arm in place.

    Args:
        arm: What to train.
        losses: Returns what the batch of an update costs: the same batch for the same number.
        settings: How.
        checkpoint: Where the state is kept every two minutes; training goes on from what is there, and ends up with
            the same numbers as if it had never stopped. It is removed at the end.

    Raises:
        ValueError: If the file at ``checkpoint`` is of another training.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(arm, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.98)
    )
    curve, begin = _taken_up(arm, optimizer, settings, checkpoint)
    noted: list[tuple[float, float]] = []
    arm.train()
    started = saved = time.perf_counter()
    worked = time.process_time()
    for update in range(begin, settings.updates):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(update / settings.updates, settings.warmup)
        found = losses(update)
        optimizer.zero_grad(set_to_none=True)
        found.total.backward()
        norm = nn.utils.clip_grad_norm_(arm.parameters(), settings.clip)
        if not bool(torch.isfinite(found.total)) or not bool(torch.isfinite(norm)):
            curve.diverged = update
            break
        optimizer.step()
        noted.append((found.noted, float(norm)))
        if len(noted) == settings.noted or update == settings.updates - 1:
            costs, norms = zip(*noted, strict=True)
            curve.loss.append(fmean(costs))
            curve.norm.append(fmean(norms))
            noted = []
            now = time.perf_counter()
            if checkpoint is not None and now - saved > SAVED_EVERY and update < settings.updates - 1:
                curve.seconds += now - started
                curve.cpu_seconds += time.process_time() - worked
                started, saved, worked = now, now, time.process_time()
                _save(arm, optimizer, settings, curve, update + 1, checkpoint)
    curve.seconds += time.perf_counter() - started
    curve.cpu_seconds += time.process_time() - worked
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return curve


def _save(
    arm: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    curve: Curve,
    update: int,
    path: Path,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "settings": asdict(settings),
        "arm": arm.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "curve": asdict(curve),
        "update": update,
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _taken_up(
    arm: nn.Module, optimizer: torch.optim.Optimizer, settings: TrainingSettings, path: Path | None
) -> tuple[Curve, int]:
    if path is None or not path.is_file():
        return Curve(), 0
    state = torch.load(path, weights_only=True)
    if state["settings"] != asdict(settings):
        raise ValueError(f"{path} is of a training with other settings ({state['settings']}): remove it")
    arm.load_state_dict(state["arm"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["generator"])
    return Curve(**state["curve"]), state["update"]

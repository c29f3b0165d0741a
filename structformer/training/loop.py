"""The one training loop of the house, on accelerate."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from structformer.training.config import TrainingConfig
from structformer.training.progress import Progress


@dataclass(frozen=True)
class Epoch:
    """One line of the history: mean training loss, validation score (higher is better), seconds so far."""

    number: int
    loss: float
    score: float | None
    seconds: float
    gradient_norm: float
    learning_rate: float


@dataclass
class History:
    """What happened in training.

    Attributes:
        epochs: One entry an epoch.
        best: Number of the epoch whose weights were kept.
        stopped: Why training ended: "epochs", "patience", "max_time" or "callback".
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    stopped: str = "epochs"


class Callback(Protocol):
    """Called after each epoch; returning True stops training."""

    def __call__(self, epoch: Epoch, model: nn.Module) -> bool | None: ...


def train(
    model: nn.Module,
    loader: DataLoader[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    config: TrainingConfig,
    *,
    validate: Callable[[nn.Module], float] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    title: str = "training",
) -> History:
    """Train ``model`` in place and leave in it the weights of the best epoch.

    AdamW with linear warm-up and cosine decay, gradient clipping, early stopping on ``validate``. On several
    processes (``accelerate launch``) each sees its share of ``loader`` and validates the same model.

    Args:
        model: The module to train; left on the CPU, in evaluation mode.
        loader: Yields batches; its own generator decides their order.
        loss: Returns the scalar loss of a batch.
        config: How long and how hard.
        validate: Returns the score of a model in evaluation mode, higher is better. None keeps the last weights.
        callbacks: Called after each epoch.
        progress: Show a progress bar; None shows one on a terminal only.
        title: What the progress bar says.

    Raises:
        FloatingPointError: The loss is not finite; names the epoch.
    """
    accelerator = Accelerator(cpu=config.device == "cpu" or not _has_accelerator(), mixed_precision=config.precision)
    optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate)
    trained, optimizer, batches = accelerator.prepare(model, optimizer, loader)
    planned = max(1, config.epochs * len(batches))
    plain = accelerator.unwrap_model(trained)
    average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(config.average)) if config.average else None
    history, keeper, started, step = History(), _Best(), time.monotonic(), 0
    with Progress(title, config.epochs, progress and accelerator.is_main_process) as bar:
        for number in range(1, config.epochs + 1):
            trained.train()
            losses, norms = [], []
            for batch in batches:
                # Under a time limit the schedule follows the clock, so that it always ends with a small rate.
                share = step / planned
                if config.max_time is not None:
                    share = max(share, (time.monotonic() - started) / config.max_time)
                rate = config.learning_rate * schedule(share, config.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                value = loss(trained, batch)
                accelerator.backward(value)
                norm = accelerator.clip_grad_norm_(trained.parameters(), config.clip)
                optimizer.step()
                optimizer.zero_grad()
                if average is not None:
                    average.update_parameters(plain)
                losses.append(value.detach())
                norms.append(torch.as_tensor(norm).detach())
                step += 1
                if _agreed(accelerator, _late(started, config.max_time)):
                    history.stopped = "max_time"
                    break
            current = plain if average is None else average.module
            entry = Epoch(
                number=number,
                loss=_mean(accelerator, losses),
                score=_score(validate, current),
                seconds=time.monotonic() - started,
                gradient_norm=_mean(accelerator, norms),
                learning_rate=rate,
            )
            if not math.isfinite(entry.loss):
                raise FloatingPointError(
                    f"the training loss is {entry.loss} in epoch {number}: lower learning_rate "
                    f"(got {config.learning_rate}) or check the scale of the data"
                )
            history.epochs.append(entry)
            bar.update(number, entry.loss, entry.score)
            if keeper.better(entry, current):
                history.best = number
            if any([callback(entry, current) for callback in callbacks]):
                history.stopped = "callback"
            elif config.patience is not None and number - history.best >= config.patience:
                history.stopped = "patience"
            if history.stopped != "epochs":
                break
    model.load_state_dict(keeper.weights)
    model.to("cpu").eval()
    return history


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that decay (matrices of linear maps) and those that do not."""
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    decayed = [p for p in model.parameters() if p.requires_grad and id(p) in matrices]
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in matrices]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def schedule(share: float, warmup: float) -> float:
    """Return the factor on the learning rate after this share of training: linear rise, then half a cosine."""
    if share < warmup:
        return max(share / warmup, 0.01)
    rest = min(1.0, (share - warmup) / max(1e-9, 1 - warmup))
    return max(0.01, 0.5 * (1 + math.cos(math.pi * rest)))


class _Best:
    """Keeps the weights of the epoch with the highest score; without scores, of the last epoch."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] = {}

    def better(self, epoch: Epoch, model: nn.Module) -> bool:
        if epoch.score is not None and self.weights and not epoch.score > self.score:
            return False
        if epoch.score is not None:
            self.score = epoch.score
        self.weights = copy.deepcopy({k: v.detach().to("cpu") for k, v in model.state_dict().items()})
        return True


def _score(validate: Callable[[nn.Module], float] | None, model: nn.Module) -> float | None:
    if validate is None:
        return None
    was_training = model.training
    model.eval()
    with torch.no_grad():
        score = validate(model)
    model.train(was_training)
    return score


def _late(started: float, limit: float | None) -> bool:
    return limit is not None and time.monotonic() - started > limit


def _agreed(accelerator: Accelerator, stop: bool) -> bool:
    # Clocks differ between processes, and one that stops alone leaves the others waiting for ever.
    if accelerator.num_processes == 1:
        return stop
    flag = torch.tensor([float(stop)], device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum").item() > 0)


def _mean(accelerator: Accelerator, values: Iterable[Tensor]) -> float:
    mean = torch.stack([value.float() for value in values]).mean().to(accelerator.device)
    return float(accelerator.reduce(mean, "mean")) if accelerator.num_processes > 1 else float(mean)


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()

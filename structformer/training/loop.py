"""The one training loop of the house, on accelerate."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from structformer.training.config import TrainingConfig
from structformer.training.optimizer import parameter_groups, running_average, schedule
from structformer.training.progress import Progress


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        number: Counts from 1.
        loss: Mean training loss.
        score: Validation score, higher is better; None without validation.
        seconds: Seconds since training began.
        gradient_norm: Mean norm of the gradient before clipping.
        learning_rate: Learning rate of the last step.
    """

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
        device: Where the model was trained, such as "cpu" or "cuda".
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    stopped: str = "epochs"
    device: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: one list a field of `Epoch`; numbers that are not finite, as words."""
        columns = {
            part.name: [_plain(getattr(entry, part.name)) for entry in self.epochs] for part in fields(Epoch)
        }
        return {"epochs": columns, "best": self.best, "stopped": self.stopped, "device": self.device}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> History:
        """The inverse of `to_dict`."""
        columns = [state["epochs"][part.name] for part in fields(Epoch)]
        epochs = [Epoch(*map(_number, row)) for row in zip(*columns, strict=True)]
        return cls(epochs, state["best"], state["stopped"], state["device"])


Callback = Callable[[Epoch, nn.Module], bool | None]
"""Called after each epoch with the model in evaluation mode; returning True stops training."""


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
        loss: Returns the scalar loss of a batch. It gets the module as trained, wrapped on several
            processes, and so calls it and nothing else of it.
        config: How long and how hard.
        validate: Returns the score of a model in evaluation mode, higher is better. None keeps the
            last weights.
        callbacks: Called after each epoch.
        progress: Show a progress bar; None shows one on a terminal only.
        title: What the progress bar says.

    Raises:
        ValueError: The loader has no batch.
        FloatingPointError: The loss or its gradient is not finite; names the epoch.
    """
    if not len(loader):
        raise ValueError("loader must yield at least one batch (got none)")
    optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate)
    with _accelerator(config, model) as accelerator:
        trained, optimizer, batches = accelerator.prepare(model, optimizer, loader)
        plain = accelerator.unwrap_model(trained)
        average = None
        if config.average:
            average = AveragedModel(plain, multi_avg_fn=running_average(config.average))
        history, keeper, clock = History(), _Best(), _Clock(config, len(batches))
        history.device = accelerator.device.type
        with Progress(title, config.epochs, progress if accelerator.is_main_process else False) as bar:
            for number in range(1, config.epochs + 1):
                trained.train()
                losses: list[float] = []
                norms: list[float] = []
                for batch in batches:
                    clock.set_rate(optimizer)
                    value = loss(trained, batch)
                    losses.append(_finite("loss", value, number, config))
                    accelerator.backward(value)
                    norm: Any = accelerator.clip_grad_norm_(trained.parameters(), config.clip)
                    # In half precision a step with an infinite gradient is skipped and the scale lowered.
                    half = config.precision == "fp16"
                    norms.append(float(norm) if half else _finite("gradient", norm, number, config))
                    optimizer.step()
                    optimizer.zero_grad()
                    if average is not None:
                        average.update_parameters(plain)
                    if _agreed(accelerator, clock.tick()):
                        history.stopped = "max_time"
                        break
                current = plain if average is None else average.module
                current.eval()
                entry = Epoch(
                    number=number,
                    loss=_mean(accelerator, losses),
                    score=_score(validate, current),
                    seconds=clock.seconds,
                    gradient_norm=_mean(accelerator, norms),
                    learning_rate=clock.rate,
                )
                history.epochs.append(entry)
                bar.update(number, entry.loss, entry.score)
                if keeper.better(entry, current):
                    history.best = number
                asked = [bool(callback(entry, current)) for callback in callbacks]
                late = config.patience is not None and number - history.best >= config.patience
                if history.stopped == "epochs" and _agreed(accelerator, any(asked) or late):
                    history.stopped = "patience" if late and not any(asked) else "callback"
                if history.stopped != "epochs":
                    break
    model.load_state_dict(keeper.weights)
    model.to("cpu").eval()
    return history


@contextmanager
def _accelerator(config: TrainingConfig, model: nn.Module) -> Generator[Accelerator]:
    """An accelerator that leaves the model's `forward` and accelerate's process-wide state as they were.

    That state fixes device and precision at first use; a second model with another precision would
    otherwise be refused. Mixed precision wraps `forward`, and the wrapper would outlive training.
    """
    found = bool(AcceleratorState._shared_state), bool(PartialState._shared_state)
    cpu = config.device == "cpu" or not torch.accelerator.is_available()
    # Some parameters play no part in some batches: γ of SOES where the data has no edges.
    wrapper = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        accelerator = Accelerator(cpu=cpu, mixed_precision=config.precision, kwargs_handlers=[wrapper])
        try:
            yield accelerator
        finally:
            accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    finally:
        if not found[0]:
            # What holds the group of processes together stays.
            alone = PartialState._shared_state.get("num_processes", 1) == 1
            AcceleratorState._reset_state(reset_partial_state=alone and not found[1])


class _Clock:
    """Counts steps and seconds, and says from them what the learning rate is and when time is up."""

    def __init__(self, config: TrainingConfig, batches: int) -> None:
        self.config, self.planned, self.step = config, config.epochs * batches, 0
        self.started, self.rate = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def set_rate(self, optimizer: torch.optim.Optimizer) -> None:
        # Under a time limit the schedule follows the clock, so that it always ends with a small rate.
        share = self.step / self.planned
        if self.config.max_time is not None:
            share = max(share, self.seconds / self.config.max_time)
        self.rate = self.config.learning_rate * schedule(share, self.config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = self.rate

    def tick(self) -> bool:
        self.step += 1
        return self.config.max_time is not None and self.seconds > self.config.max_time


class _Best:
    """Keeps the weights of the epoch with the highest score; without scores, of the last epoch."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] = {}

    def better(self, epoch: Epoch, model: nn.Module) -> bool:
        if epoch.score is not None:
            # A score that is not a number is worse than any.
            score = -math.inf if math.isnan(epoch.score) else epoch.score
            if self.weights and not score > self.score:
                return False
            self.score = score
        self.weights = {k: copy.deepcopy(v.detach().cpu()) for k, v in model.state_dict().items()}
        return True


def _plain(value: Any) -> Any:
    return value if value is None or math.isfinite(value) else str(value)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


def _finite(what: str, value: Tensor, epoch: int, config: TrainingConfig) -> float:
    # Looked at in every step: after a step with such a gradient the model fails somewhere else.
    found = float(value.detach())
    if not math.isfinite(found):
        raise FloatingPointError(
            f"the {what} is {found} in epoch {epoch}: lower learning_rate (got {config.learning_rate}) "
            "or check the scale of the data"
        )
    return found


@torch.no_grad()
def _score(validate: Callable[[nn.Module], float] | None, model: nn.Module) -> float | None:
    return None if validate is None else validate(model)


def _agreed(accelerator: Accelerator, stop: bool) -> bool:
    # Clocks and scores may differ between processes, and one that stops alone leaves the others waiting.
    return _mean(accelerator, [float(stop)]) > 0 if accelerator.num_processes > 1 else stop


def _mean(accelerator: Accelerator, values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    if accelerator.num_processes == 1:
        return mean
    found: Any = accelerator.reduce(torch.tensor(mean, device=accelerator.device), "mean")
    return float(found)

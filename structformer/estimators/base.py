"""What all estimators share: parameters, seeds, target encoding, saving and loading without pickle."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

import structformer.training as training
from structformer.estimators.html import learned
from structformer.models.support import supported
from structformer.nn.soes import SOES
from structformer.training import Callback, History, TrainingConfig

State = dict[str, Any]
Network = TypeVar("Network", bound=nn.Module)


class StructFormerEstimator(BaseEstimator):
    """Base of the estimators: `save`, pickling and seeds.

    A subclass keeps everything learned outside the network in JSON-ready form: `_state` returns it and
    `_restore` rebuilds the estimator, network included, from it; the network's weights travel separately.

    Attributes:
        model_: The trained network, float32, on the CPU, in evaluation mode.
        history_: What happened in training; saved with the model. None for one saved before that was so.
    """

    model_: Any  # subclasses name their own kind of network
    history_: History | None
    _exact: Any = None
    _seen: Mapping[str, int] | None = None
    """How many things of each kind, such as rows, the model was fitted on; None before it is fitted."""

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the fitted estimator to a folder (weights in safetensors, the rest in JSON; no pickle).

        Raises:
            NotFittedError: Before `fit`.
            FileExistsError: ``folder`` exists and is not a structformer model.
        """
        check_is_fitted(self, "model_")
        state = {
            "class": type(self).__name__,
            "parameters": self._plain_parameters(),
            "state": self._state(),
            "seen": self._seen,
            "histories": [history.to_dict() for history in self._histories()],
        }
        return training.save_checkpoint(folder, state, self._tensors())

    def _histories(self) -> list[History]:
        """One for each network that was trained."""
        return [] if self.history_ is None else [self.history_]

    def _restore_histories(self, histories: list[History]) -> None:
        self.history_ = histories[-1] if histories else None

    def _state(self) -> State:
        raise NotImplementedError

    def _restore(self, state: State) -> None:
        raise NotImplementedError

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {f"model.{name}": value for name, value in self.model_.state_dict().items()}

    def _load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        self.model_.load_state_dict(weights)
        self.model_.eval()

    def _plain_parameters(self) -> State:
        return {name: _plain(value) for name, value in self.get_params(deep=False).items()}

    def _exact_model(self) -> Any:
        """The float64 copy that predicts, made when first asked for."""
        check_is_fitted(self, "model_")
        if self._exact is None:
            self._exact = exact(self.model_)
        return self._exact

    def graph_layers(self) -> tuple[list[nn.Module], list[SOES]]:
        """Return the networks that predict, and those of their layers that learn the graph which is shown.

        For those who look inside; see `structformer.inspect.faithfulness`.

        Raises:
            NotFittedError: Before `fit`.
        """
        network = self._exact_model()
        return [network], [layer for layer in network.encoder.modules() if isinstance(layer, SOES)]

    def _supporting(self, wanted: bool) -> AbstractContextManager[None]:
        """While it lasts, what the networks return says how far each learned edge speaks for what is predicted."""
        if not (wanted and hasattr(self, "predict")):
            return nullcontext()
        return supported(*self.graph_layers(), classes=self._tells_classes())

    def _tells_classes(self) -> bool:
        """Whether the networks' outputs are class scores."""
        return hasattr(self, "classes_")

    def __getstate__(self) -> State:
        state: Any = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_exact"}

    @classmethod
    def _parameters_from(cls, plain: State) -> Self:
        return cls(**{name: _restored(value) for name, value in plain.items()})

    @classmethod
    def _from_saved(cls, state: State, tensors: dict[str, torch.Tensor]) -> Self:
        estimator = cls._parameters_from(state["parameters"])
        estimator._seen = state.get("seen") or {}
        estimator._restore_histories([History.from_dict(part) for part in state.get("histories", ())])
        estimator._restore(state["state"])
        estimator._load_tensors(tensors)
        return estimator

    def _repr_html_inner(self) -> str:
        """What scikit-learn shows in a notebook, and once fitted what was learned."""
        return learned(self) + super()._repr_html_inner()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown:
            shown["text/html"] = learned(self) + shown["text/html"]
        return shown

    def _seed(self) -> int:
        """One seed from `random_state`, drawn once a fit."""
        return int(check_random_state(getattr(self, "random_state", None)).randint(2**31 - 1))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):  # keys may be class labels, which JSON would turn into strings
        return {"pairs": [[_plain(key), _plain(part)] for key, part in value.items()]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return None if None in parts else parts
    # A stream of random numbers or a callback cannot be written down.
    return value if isinstance(value, str | int | float | bool) else None


def _restored(value: Any) -> Any:
    return dict(value["pairs"]) if isinstance(value, dict) else value


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network with weights drawn from ``seed``, leaving the global stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def run_training(
    model: nn.Module,
    loader: Any,
    loss: Callable[[nn.Module, Any], torch.Tensor],
    config: TrainingConfig,
    seed: int,
    *,
    validate: Callable[[nn.Module], float] | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool | None = None,
    title: str = "training",
) -> History:
    """`structformer.training.train` with dropout drawn from ``seed``, the global stream left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return training.train(
            model, loader, loss, config, validate=validate, callbacks=callbacks, progress=verbose, title=title
        )


def exact(model: Network) -> Network:
    """Return a float64 copy for prediction.

    In float32 the last bits of a matrix product depend on how many rows it has, which can swap two nearly
    equal neighbours; in float64 what a row gets does not depend on its company.
    """
    return copy.deepcopy(model).double().eval()


@dataclass(frozen=True)
class Classes:
    """The classes of a target, in sorted order.

    Attributes:
        values: The labels, as the user gave them.
    """

    values: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray) -> Classes:
        """Learn the classes.

        Raises:
            ValueError: There is one class only.
        """
        values = np.unique(y)
        if len(values) < 2:
            raise ValueError(f"y must hold at least two classes (got one class: {values.tolist()[0]!r})")
        return cls(values)

    def encode(self, y: np.ndarray, name: str = "y") -> np.ndarray:
        """Return the number of each label's class.

        Raises:
            ValueError: A label was not among the training labels.
        """
        place = pd.Index(self.values).get_indexer(pd.Index(y))
        unknown = place < 0
        if unknown.any():
            raise ValueError(
                f"{name} holds {y[unknown].tolist()[0]!r}, which is not among the training classes "
                f"{self.values.tolist()}"
            )
        return place.astype(np.int64)

    def to_dict(self) -> State:
        """JSON-ready form, the labels' type included."""
        return {"values": self.values.tolist(), "dtype": self.values.dtype.str}

    @classmethod
    def from_dict(cls, state: State) -> Classes:
        """The inverse of `to_dict`."""
        return cls(np.array(state["values"], dtype=np.dtype(state["dtype"])))


@dataclass(frozen=True)
class Scale:
    """Mean and spread of a numeric target, taken from training targets.

    Attributes:
        mean: What is taken off, one number an output.
        spread: What it is divided by, one number an output; 0 for a constant one, which is always foretold.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, y: np.ndarray, weight: np.ndarray | None = None) -> Scale:
        """Learn from targets [rows, outputs].

        Sums are exactly rounded, so that the order of the rows does not show in the last bits, which training
        would make larger.
        """
        weight = np.ones(len(y)) if weight is None else weight
        total = math.fsum(weight)
        # At a size near 1, the squares of huge and tiny numbers can be held.
        size = np.abs(y).max(axis=0)
        size[size == 0] = 1.0
        unit = y / size
        mean = np.array([math.fsum(weight * output) / total for output in unit.T])
        spread = np.sqrt([math.fsum(weight * output) / total for output in ((unit - mean) ** 2).T])
        spread = np.where(spread > 1e-12, spread * size, 0.0)
        return cls(tuple((mean * size).tolist()), tuple(spread.tolist()))

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Return standardised targets."""
        spread = np.array(self.spread)
        return (y - np.array(self.mean)) / np.where(spread > 0, spread, 1.0)

    def backward(self, y: np.ndarray) -> np.ndarray:
        """Return targets in their own units."""
        return y * np.array(self.spread) + np.array(self.mean)

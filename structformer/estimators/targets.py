"""Targets and weights as people give them, checked."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from structformer.estimators.base import Classes
from structformer.training.objectives import balanced_class_weight

ClassWeight = str | dict[Any, float] | None


def class_labels(y: Any, count: int, thing: str, name: str = "y", warn: bool = False) -> np.ndarray:
    """Return one class label a thing.

    Args:
        y: Labels of any sortable type: a list, array, tensor or Series.
        count: Number of things.
        thing: What a label belongs to ("set", "graph").
        name: What messages call ``y``.
        warn: Warn when the labels stand in a column, [things, 1], as scikit-learn does.

    Raises:
        ValueError: ``y`` is missing or has another length, holds missing labels, or numbers that are no
            classes.
    """
    labels = _vector(y, count, thing, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        if warn:
            message = f"A column-vector {name} was passed when a 1d array was expected; pass {name}.ravel()"
            warnings.warn(message, DataConversionWarning, stacklevel=4)
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{name} must hold one label a {thing} (got shape {list(labels.shape)})")
    missing = pd.isna(labels)
    if missing.any():
        raise ValueError(f"{name} has a missing label (NaN) at position {int(np.flatnonzero(missing)[0])}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} has an infinite label at position {int(np.argmin(np.isfinite(labels)))}")
    check_classification_targets(labels)
    return labels


def numbers(y: Any, count: int, thing: str, name: str = "y") -> Float[np.ndarray, "things *outputs"]:
    """Return one number, or several, a thing, in float64.

    Raises:
        ValueError: ``y`` is missing, has another length, or holds something else than finite numbers.
    """
    values = _vector(y, count, thing, name)
    if np.iscomplexobj(values):
        raise ValueError(f"{name} must hold real numbers. Complex data not supported")
    try:
        target = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers ({error})") from None
    if target.ndim not in (1, 2):
        raise ValueError(f"{name} must be [{thing}s] or [{thing}s, outputs] (got shape {list(target.shape)})")
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    bad = ~np.isfinite(target.reshape(count, -1)).all(1)
    if bad.any():
        place = int(np.argmax(bad))
        raise ValueError(f"{name} must be finite (got {target[place]} at position {place})")
    return target


def importance(sample_weight: Any, count: int, thing: str) -> Float[Tensor, " things"] | None:
    """Return one weight a thing, or None when none are given.

    Raises:
        ValueError: There is another number of weights, one is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return None
    weight = numbers(sample_weight, count, thing, "sample_weight")
    if weight.ndim != 1:
        raise ValueError(f"sample_weight must hold one number a {thing} (got shape {list(weight.shape)})")
    if (weight < 0).any():
        place = int(np.argmax(weight < 0))
        raise ValueError(f"sample_weight must not be negative (got {weight[place]} at position {place})")
    if not weight.any():
        raise ValueError("sample_weight is zero everywhere: some weight must be positive")
    # An exactly rounded sum does not depend on the order of the rows.
    return torch.from_numpy((weight * (count / math.fsum(weight))).astype(np.float32))


def class_weights(rule: ClassWeight, classes: Classes, target: Int[Tensor, " things"]) -> Tensor | None:
    """Return one weight a class, as ``rule`` names them or scikit-learn's "balanced"; None if all are equal.

    Raises:
        ValueError: The rule is something else, or names a class that is not there.
    """
    if rule is None:
        return None
    if isinstance(rule, dict):
        known = classes.values.tolist()
        unknown = [label for label in rule if label not in known]
        if unknown:
            raise ValueError(f"class_weight names {unknown[0]!r}, which is not among the classes {known}")
        return torch.tensor([float(rule.get(label, 1.0)) for label in known])
    if rule != "balanced":
        raise ValueError(f'class_weight must be None, "balanced" or a dict (got {rule!r})')
    return balanced_class_weight(target, len(classes.values))


def _vector(y: Any, count: int, thing: str, name: str) -> np.ndarray:
    if y is None:
        # The wording is the one that scikit-learn asks of its estimators.
        raise ValueError(f"fit requires {name} to be passed, but the target {name} is None")
    values = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if values.ndim == 0:
        raise ValueError(f"{name} must hold one target a {thing} (got {y!r})")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries, but there are {count} {thing}s")
    return values

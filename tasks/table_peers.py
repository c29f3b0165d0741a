"""The arms of the benchmark of mixed-type tables: ours as a user gets them, and their peers at their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structformer as sf

from .baselines.table_boosting import catboost, lightgbm, xgboost
from .baselines.table_sklearn import boosting, linear, random_forest
from .baselines.table_tabm import tabm
from .ledger import Arm
from .mixed_tables_data import Task

OURS = {"soes": {"model": "soes"}, "ressformer": {"model": "ressformer"}}
PEERS: dict[str, Callable[..., Any]] = {
    "linear": linear,
    "random forest": random_forest,
    "HistGradientBoosting": boosting,
    "LightGBM": lightgbm,
    "XGBoost": xgboost,
    "CatBoost": catboost,
    "TabM": tabm,
}
ARMS = (*OURS, *PEERS)


def arm(name: str, options: Mapping[str, Any] | None = None) -> Arm:
    """Return an arm with what it is made of, beyond its defaults.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in ARMS:
        raise ValueError(f"arms must be among {', '.join(ARMS)} (got {name})")
    return Arm(name, name in OURS, {**OURS.get(name, {}), **(options or {})})


def build(one: Arm, task: Task, seed: int, threads: int) -> Any:
    """Return an arm's estimator, which takes a DataFrame as it is."""
    if one.ours:
        kind = sf.StructFormerClassifier if task == "classification" else sf.StructFormerRegressor
        return kind(random_state=seed, verbose=False, **one.options)
    return PEERS[one.name](task, seed, threads, **one.options)

"""What an arm is worth on a table: scores, and whether the order of rows and columns shows in what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score, root_mean_squared_error

from .mixed_tables_data import Split, Task
from .runs import Record

# Predicted numbers, in spreads of the target, that count as the same.
SAME = 1e-6


def outputs(model: Any, frame: pd.DataFrame, task: Task) -> np.ndarray:
    """Return what a model predicts: probabilities [rows, classes], or numbers [rows]."""
    return model.predict_proba(frame) if task == "classification" else model.predict(frame)


def scores(found: np.ndarray, split: Split) -> Record:
    """Return the score, more is better, and further figures of predictions for the test part.

    Raises:
        ValueError: If a prediction is not finite, or there are more than two classes.
    """
    if not np.isfinite(found).all():
        raise ValueError(f"predictions must be finite (got {found[~np.isfinite(found)][0]})")
    truth = split.test_target
    if split.task == "regression":
        return {"score": float(r2_score(truth, found)), "rmse": float(root_mean_squared_error(truth, found))}
    if found.shape[1] != 2:
        raise ValueError(f"the target must have two classes (got {found.shape[1]})")
    return {
        "score": float(roc_auc_score(truth, found[:, 1])),
        "accuracy": float(accuracy_score(truth, found.argmax(1))),
        "log_loss": float(log_loss(truth, found, labels=[0, 1])),
    }


def shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the table with its rows and its columns in another order, and where its rows came from."""
    rows = rng.permutation(len(frame))
    return frame.iloc[rows, rng.permutation(frame.shape[1])], rows


def invariance(model: Any, split: Split, permutations: int, rows: int, seed: int) -> Record:
    """Return the share of predictions that change with the order of the rows and columns to predict for.

    Args:
        model: A trained one.
        split: Its first test rows are shuffled.
        permutations: How often.
        rows: How many are predicted at a time.
        seed: Of the permutations.

    Returns:
        "changed", and "largest", the largest change of a probability, or of a number in spreads of the target.
    """
    rng, frame = np.random.default_rng(seed), split.test.iloc[:rows]
    before = outputs(model, frame, split.task)
    changed, largest = 0.0, 0.0
    for _ in range(permutations):
        other, places = shuffled(frame, rng)
        share, most = change(before[places], outputs(model, other, split.task), split)
        changed, largest = changed + share / permutations, max(largest, most)
    return {"changed": changed, "largest": largest}


def retrained(build: Callable[[], Any], found: np.ndarray, split: Split, seed: int) -> Record:
    """Return the share of test predictions that change with the order of the rows and columns to learn from."""
    other, places = shuffled(split.train, np.random.default_rng(seed))
    model = build().fit(other, split.train_target[places])
    share, _ = change(found, outputs(model, split.test, split.task), split)
    return {"retrained": share}


def change(before: np.ndarray, after: np.ndarray, split: Split) -> tuple[float, float]:
    """Return the share of predictions that differ, and the largest difference."""
    if split.task == "classification":
        differ = before.argmax(1) != after.argmax(1)
        return float(differ.mean()), float(np.abs(before - after).max())
    distance = np.abs(before - after) / split.train_target.std()
    return float((distance > SAME).mean()), float(distance.max())

"""The tables of the benchmark of mixed-type tables, and how each is split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from structformer.datasets.tables import mixed_table

Task = Literal["classification", "regression"]

REAL = (
    "adult",
    "ames",
    "attrition",
    "bank",
    "california_housing",
    "credit_data",
    "diamonds",
    "mlc_churn",
    "titanic",
    "womens_clothing_reviews",
)
TEST = 0.2
WORDS = ("solid", "fragile", "bright", "dull", "heavy", "light", "quiet", "loud", "smooth", "rough")


@dataclass(frozen=True)
class Split:
    """A table's training and test part.

    Attributes:
        train: Columns to predict from.
        train_target: Classes as 0, 1, … in sorted order, or numbers.
        test: The same of the rows to predict.
        test_target: Known to none but the score.
        task: What the target is.
    """

    train: pd.DataFrame
    train_target: np.ndarray
    test: pd.DataFrame
    test_target: np.ndarray
    task: Task


def split_table(name: str, seed: int, rows: int) -> Split:
    """Return a table in two: a fifth to test on, and of the others at most so many to train on.

    Classes have the same shares in both. A smaller training part is drawn from the larger one; the test part is whole.

    Args:
        name: Of `REAL`, or of `MADE_UP`.
        seed: Decides which rows go where; the same for all arms.
        rows: Most training rows.

    Raises:
        FileNotFoundError: If a real table's file is missing.
        ValueError: If there is no table of that name.
    """
    frame, target, task = read_table(name)
    classes = target if task == "classification" else None
    train, test = train_test_split(np.arange(len(frame)), test_size=TEST, stratify=classes, random_state=seed)
    if len(train) > rows:
        among = None if classes is None else classes[train]
        train, _ = train_test_split(train, train_size=rows, stratify=among, random_state=seed)
    return Split(frame.iloc[train], target[train], frame.iloc[test], target[test], task)


@cache
def read_table(name: str) -> tuple[pd.DataFrame, np.ndarray, Task]:
    """Return a table's columns, its target with classes numbered, and what the target is.

    Raises:
        FileNotFoundError: If a real table's file is missing.
        ValueError: If there is no table of that name.
    """
    if name in MADE_UP:
        return MADE_UP[name]()
    if name not in REAL:
        raise ValueError(f"data must be among {', '.join((*REAL, *MADE_UP))} (got {name})")
    table = mixed_table(name)
    if table.task == "classification":
        return table.frame, pd.factorize(table.target, sort=True)[0], "classification"
    return table.frame, table.target.to_numpy(np.float64), "regression"


def made_up_classes() -> tuple[pd.DataFrame, np.ndarray, Task]:
    """Return a table of 400 rows with every kind of column, and two classes."""
    frame, score = _made_up(np.random.default_rng(0))
    return frame, (score > np.median(score)).astype(np.int64), "classification"


def made_up_numbers() -> tuple[pd.DataFrame, np.ndarray, Task]:
    """Return the same columns with the number that the classes come from."""
    frame, score = _made_up(np.random.default_rng(1))
    return frame, score, "regression"


def _made_up(rng: np.random.Generator, rows: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    number, count = rng.normal(size=rows), rng.poisson(3, rows).astype(float)
    colour = rng.integers(0, 4, rows)
    day, member = rng.integers(0, 3_000, rows), rng.random(rows) < 0.4
    words = rng.integers(0, len(WORDS), (rows, 6))
    fragile = (words == WORDS.index("fragile")).any(axis=1)
    # Each kind of column has a part in it, one of them where another allows it.
    score = number * np.where(member, 1.5, 0.5) + 0.2 * count + np.array([0.0, 1.5, -1.0, 0.5])[colour]
    score += 1.5 * fragile + day / 1_500 + rng.normal(scale=0.3, size=rows)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(rows) < 0.1, np.nan, number),
            "count": count,
            "colour": np.array(["red", "green", "blue", "grey"])[colour],
            "member": member,
            "since": pd.Timestamp("2015-01-01") + pd.to_timedelta(day, unit="D"),
            # The row's number makes every text another one.
            "note": [" ".join([WORDS[i] for i in some]) + f" no{row}" for row, some in enumerate(words)],
        }
    )
    frame.loc[rng.random(rows) < 0.1, "colour"] = None
    return frame, score


MADE_UP: dict[str, Callable[[], tuple[pd.DataFrame, np.ndarray, Task]]] = {
    "made-up classes": made_up_classes,
    "made-up numbers": made_up_numbers,
}

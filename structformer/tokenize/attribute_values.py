"""Single attribute values: missing or not, as numbers, as labels; and whose they are, for error messages."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

HASHED_WIDTH = 128
"""Columns that strings with many distinct values are hashed to."""

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Items:
    """What attributes belong to, so that errors can name it.

    Attributes:
        what: "node" or "edge".
        total: how many there are.
        name: the name of one, by its index, such as `'Mr Hi' of graph 2`.
        rows: the items that are meant, when not all; indices then count along these.
    """

    what: str
    total: int
    name: Callable[[int], str]
    rows: Int[np.ndarray, "items"] | None = None

    def __len__(self) -> int:
        return self.total

    def at(self, rows: Int[np.ndarray, "items"] | None) -> Items:
        """These rows of the items; None means all."""
        return self if rows is None else replace(self, rows=rows)

    def describe(self, index: int) -> str:
        """Such as `node 'Mr Hi' of graph 2`."""
        return f"{self.what} {self.name(index if self.rows is None else int(self.rows[index]))}"


@dataclass(frozen=True)
class Place:
    """One attribute of some items, as error messages call it."""

    name: str
    items: Items

    def __str__(self) -> str:
        return f"{self.items.what} attribute {self.name!r}"

    def of(self, index: int) -> str:
        """The attribute of one item."""
        return f"{self} of {self.items.describe(index)}"


def is_missing(value: Any) -> bool:
    """Whether a Python value stands for "not known"."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating | Decimal) and bool(value != value)


def check_finite(values: np.ndarray, where: Place) -> None:
    """Raises ValueError naming the first entry of a `[n, F]` array that is not finite."""
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ValueError(f"{where.of(row)} is {values[row, column]} in column {column}; only finite values")


def as_number(value: Any) -> float | None:
    """The value as a float; dates as days since 1970 (UTC where they have no zone), durations as seconds."""
    # Before the numbers: numpy counts its durations among the integers.
    if isinstance(value, datetime.timedelta | np.timedelta64):
        return float(pd.Timedelta(value).total_seconds())
    if isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating | Decimal):
        return float(value)
    if isinstance(value, datetime.date | np.datetime64):
        stamp: Any = pd.Timestamp(value)
        return stamp.timestamp() / DAY.total_seconds()
    return None


def numbers(
    found: Sequence[Any], rows: Sequence[int], where: Place, size: int
) -> Float[np.ndarray, "found size"]:
    """Values as finite float64; a string that spells a number counts as one."""
    out = np.empty((len(found), size))
    for index, (row, value) in enumerate(zip(rows, found, strict=True)):
        single = as_number(value)
        if single is not None and size == 1:
            out[index] = single
            continue
        try:
            vector = np.asarray(plain(value), dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise ValueError(f"{where.of(row)} is {value!r}, where numbers are expected") from None
        if len(vector) != size:
            raise ValueError(f"{where.of(row)} has {len(vector)} numbers, but {size} are expected")
        out[index] = vector
    finite = np.isfinite(out).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        raise ValueError(f"{where.of(rows[bad])} is {found[bad]!r}; only finite numbers")
    return out


def plain(value: Any) -> Any:
    """A tensor as a numpy array, anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def label(value: Any) -> str:
    """The category a value stands for."""
    # A column that held 1.0 because of a gap and holds 1 without it is the same category.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def hashed(texts: list[str]) -> Float[np.ndarray, "texts hashed"]:
    """Counts of hashed character 2- to 4-grams, signed by the hash, of length 1 together."""
    single: Any = np.float32
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=HASHED_WIDTH, dtype=single
    )
    counts: Any = vectorizer.transform(texts)
    return counts.toarray()

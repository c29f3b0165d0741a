"""One attribute: how its values become numbers, and the rules that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from structformer.tokenize.attribute_values import (
    HASHED_WIDTH,
    Items,
    Place,
    as_number,
    check_finite,
    hashed,
    is_missing,
    label,
    numbers,
    plain,
)
from structformer.tokenize.scaling import Standardizer

FEW = 20
"""Strings with at most this many distinct values, or the square root of their number, are categories."""

MAX_CODE_COLUMNS = 16
MAX_CODES = 64
"""An integer matrix of at most 16 columns, each of at most 64 distinct values, holds codes, not amounts."""


@dataclass(frozen=True)
class Attribute:
    """How one attribute is written.

    - number: Python numbers, booleans, dates (days since 1970), durations (seconds) or vectors of
      numbers, equally long. Written as standardised values and "is missing".
    - category: strings, few distinct, or values of mixed type as strings. Written as one column a category,
      "is unseen" and "is missing".
    - text: strings, many distinct. Written as 128 hashed counts of character 2- to 4-grams, of length 1
      together, and "is missing".
    - matrix: a numeric array. Written standardised, or as it is when it is non-negative and at least half of
      its entries are 0: a bag of words or one-hot codes.
    - codes: an integer array of at most 16 columns, none with more than 64 distinct values, and not all of
      them 0 and 1. Written, for each column, as one column a value and "is unseen".

    Standardised means `Standardizer`: columns of 0 and 1 stay. Categories are sorted, so that no order of
    nodes shows. None, NaN, NaT and pandas' NA are missing values of Python attributes; arrays must be finite.
    """

    name: str
    kind: str
    size: int = 1
    scaler: Standardizer | None = None
    categories: tuple[tuple[str, ...], ...] = ()

    @property
    def width(self) -> int:
        """Number of columns written."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> list[str]:
        """What each written column says."""
        parts = [self.name] if self.size == 1 else [f"{self.name}.{i}" for i in range(self.size)]
        if self.kind == "matrix":
            return parts
        if self.kind == "codes":
            pairs = zip(parts, self.categories, strict=True)
            return [
                n for part, known in pairs for n in (*(f"{part}={c}" for c in known), f"{part} is unseen")
            ]
        last = f"{self.name} is missing"
        if self.kind == "category":
            return [*(f"{self.name}={c}" for c in self.categories[0]), f"{self.name} is unseen", last]
        return [*parts, last]

    def encode(self, values: Sequence[Any] | np.ndarray, items: Items) -> Float[np.ndarray, "items width"]:
        """Writes new values, one for each of `items`, as float32.

        Raises:
            ValueError: if a value cannot be written; the message names the attribute and the item.
        """
        where = Place(self.name, items)
        if self.kind in ("matrix", "codes"):
            return self._encode_array(values, where)
        if isinstance(values, np.ndarray):
            values = list(values) if values.shape[1] > 1 else values[:, 0].tolist()
        out = np.zeros((len(values), self.width), np.float32)
        present = np.array([not is_missing(value) for value in values], dtype=bool)
        out[~present, -1] = 1.0
        rows = np.flatnonzero(present).tolist()
        found = [values[row] for row in rows]
        if self.kind == "number" and self.scaler is not None:
            out[rows, :-1] = self.scaler(numbers(found, rows, where, self.size))
        elif self.kind == "category":
            place = {category: i for i, category in enumerate(self.categories[0])}
            unseen = len(place)
            out[rows, [place.get(label(value), unseen) for value in found]] = 1.0
        elif found:
            out[rows, :-1] = hashed([label(value) for value in found])
        return out

    def _encode_array(self, values: Sequence[Any] | np.ndarray, where: Place) -> np.ndarray:
        if not isinstance(values, np.ndarray):
            raise ValueError(f"{where} was an array in training (got a list of values)")
        if values.shape[1] != self.size:
            raise ValueError(f"{where} has {values.shape[1]} columns, but {self.size} in training")
        check_finite(values, where)
        if self.kind == "matrix":
            return values.astype(np.float32, copy=False) if self.scaler is None else self.scaler(values)
        blocks: list[np.ndarray] = []
        for column, known in enumerate(self.categories):
            codes = np.array([int(c) for c in known], dtype=np.int64)
            block = np.zeros((len(values), len(codes) + 1), np.float32)
            match = values[:, column, None] == codes
            block[:, :-1] = match
            block[:, -1] = ~match.any(axis=1)
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """The fitted state, JSON-ready."""
        return {
            "name": self.name,
            "kind": self.kind,
            "size": self.size,
            "scaler": None if self.scaler is None else self.scaler.to_dict(),
            "categories": [list(known) for known in self.categories],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Attribute:
        """The inverse of `to_dict`."""
        scaler = None if state["scaler"] is None else Standardizer.from_dict(state["scaler"])
        categories = tuple(tuple(known) for known in state["categories"])
        return cls(state["name"], state["kind"], int(state["size"]), scaler, categories)


def fit_attribute(name: str, values: list[Any] | np.ndarray, items: Items) -> Attribute:
    """Decides how an attribute is written, by the rules of `Attribute`.

    Raises:
        ValueError: if a value cannot be used; the message names the attribute and the item.
    """
    where = Place(name, items)
    if isinstance(values, np.ndarray):
        return _fit_array(name, values, where)
    rows = [row for row, value in enumerate(values) if not is_missing(value)]
    found = [values[row] for row in rows]
    vectors = [isinstance(value, list | tuple | np.ndarray | Tensor) for value in found]
    if any(vectors):
        size = int(np.size(plain(found[vectors.index(True)])))
        return Attribute(name, "number", size, Standardizer.fit(numbers(found, rows, where, size)))
    for row, value in zip(rows, found, strict=True):
        if isinstance(value, dict | set | frozenset):
            raise ValueError(f"{where.of(row)} is a {type(value).__name__}: no number, string or vector")
    if all(as_number(value) is not None for value in found):
        return Attribute(name, "number", 1, Standardizer.fit(numbers(found, rows, where, 1)))
    labels = [label(value) for value in found]
    known = sorted(set(labels))
    if len(known) <= max(FEW, int(len(labels) ** 0.5)):
        return Attribute(name, "category", categories=(tuple(known),))
    return Attribute(name, "text", HASHED_WIDTH)


def _fit_array(name: str, values: np.ndarray, where: Place) -> Attribute:
    check_finite(values, where)
    size = values.shape[1]
    if np.issubdtype(values.dtype, np.integer) and size <= MAX_CODE_COLUMNS:
        known = [np.unique(values[:, column]) for column in range(size)]
        binary = all(len(codes) == 0 or (codes[0] >= 0 and codes[-1] <= 1) for codes in known)
        if not binary and all(len(codes) <= MAX_CODES for codes in known):
            categories = tuple(tuple(map(str, codes.tolist())) for codes in known)
            return Attribute(name, "codes", size, categories=categories)
    words = values.size > 0 and np.min(values) >= 0 and np.count_nonzero(values) <= values.size / 2
    return Attribute(name, "matrix", size, None if words else Standardizer.fit(values))

"""A table made ready for statements: words of its cells, numbers and dates, and ranks within columns.

Nothing here depends on the order of rows or columns.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float

from .tabfact_words import Word, stem, words

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = re.compile(r"\b(" + "|".join(_MONTHS) + r")(?:uary|ruary|ch|il|e|y|ust|t|tember|ober|ember)?\b")
_CLOCK = re.compile(r"\d+(?::\d+)+(?:\.\d+)?")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?|(?<![\w.])[-+]?\.\d+")
_TIMES = frozenset(
    map(stem, ("year", "date", "season", "day", "founded", "established", "opened", "born", "aired"))
)
_MOSTLY = 0.7
_PARSED = 3


@dataclass(frozen=True, eq=False)
class ReadTable:
    """A table's words and numbers.

    Attributes:
        headers: Words of each column's name.
        cells: Words of each cell, row by row.
        values: Each cell as a number (a date as days, a time as seconds); NaN where it is none.
    """

    headers: tuple[tuple[Word, ...], ...]
    cells: tuple[tuple[tuple[Word, ...], ...], ...]
    values: Float[np.ndarray, "rows columns"]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> ReadTable:
        """Read a table whose cells are text."""
        rows = frame.to_numpy(dtype=object).tolist()
        texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
        values = np.array([[value_of(cell) for cell in row] for row in texts], dtype=float)
        return cls(
            tuple(words(str(name)) for name in frame.columns),
            tuple(tuple(words(cell) for cell in row) for row in texts),
            values.reshape(len(rows), len(frame.columns)),
        )

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.cells)

    @property
    def num_columns(self) -> int:
        """Number of columns."""
        return len(self.headers)

    def permuted(self, rows: Sequence[int], columns: Sequence[int]) -> ReadTable:
        """Return the table with its rows and columns in another order."""
        return ReadTable(
            tuple(self.headers[c] for c in columns),
            tuple(tuple(self.cells[r][c] for c in columns) for r in rows),
            self.values[np.ix_(rows, columns)],
        )

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Whether a column is of numbers, most of it."""
        there = ~np.isnan(self.values)
        filled = np.array([[bool(cell) for cell in row] for row in self.cells]).reshape(self.values.shape)
        share = there.sum(0) / np.maximum(1, filled.sum(0))
        return tuple(bool(s >= _MOSTLY and n >= 2) for s, n in zip(share, there.sum(0), strict=True))

    @cached_property
    def times(self) -> tuple[bool, ...]:
        """Whether a column is of numbers that say when, by its name."""
        said = [any(word.stem in _TIMES for word in header) for header in self.headers]
        return tuple(numeric and time for numeric, time in zip(self.numeric, said, strict=True))

    @cached_property
    def from_top(self) -> Float[np.ndarray, "rows columns"]:
        """How many cells of a numeric column are larger; NaN elsewhere."""
        return self._ranks(-self.values)

    @cached_property
    def from_bottom(self) -> Float[np.ndarray, "rows columns"]:
        """How many cells of a numeric column are smaller; NaN elsewhere."""
        return self._ranks(self.values)

    @cached_property
    def spelled(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """The stems of each cell, by which cells are equal."""
        return tuple(tuple(tuple(word.stem for word in cell) for cell in row) for row in self.cells)

    @cached_property
    def keys(self) -> dict[tuple[str, ...], tuple[tuple[int, int], ...]]:
        """Where each different content stands, by its stems; empty cells are left out."""
        found: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for r, row in enumerate(self.spelled):
            for c, key in enumerate(row):
                if key:
                    found[key].append((r, c))
        return {key: tuple(places) for key, places in found.items()}

    @cached_property
    def index(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The different contents that a stem occurs in, in alphabetical order."""
        found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for key in self.keys:
            for part in key:
                found[part].add(key)
        return {part: tuple(sorted(keys)) for part, keys in found.items()}

    @cached_property
    def repeats(self) -> tuple[tuple[int, ...], ...]:
        """How many cells of its column have a cell's content, row by row; 0 for empty cells."""
        return tuple(
            tuple(self._counts[column].get(key, 0) for column, key in enumerate(row)) for row in self.spelled
        )

    @cached_property
    def most_repeated(self) -> tuple[int, ...]:
        """How often the commonest content of each column is there."""
        return tuple(max(counts.values(), default=0) for counts in self._counts)

    @cached_property
    def distinct(self) -> tuple[int, ...]:
        """How many different contents each column has."""
        return tuple(map(len, self._counts))

    @cached_property
    def sorted_values(self) -> tuple[Float[np.ndarray, "values"], ...]:
        """Each column's numbers in ascending order, so that sums do not depend on where they stood."""
        return tuple(np.sort(column[~np.isnan(column)]) for column in self.values.T)

    @cached_property
    def _counts(self) -> tuple[Counter[tuple[str, ...]], ...]:
        return tuple(
            Counter(row[column] for row in self.spelled if row[column]) for column in range(self.num_columns)
        )

    def _ranks(self, values: np.ndarray) -> np.ndarray:
        found = np.full(values.shape, np.nan)
        for column in range(self.num_columns):
            if self.numeric[column]:
                here = ~np.isnan(values[:, column])
                ordered = np.sort(values[here, column])
                found[here, column] = np.searchsorted(ordered, values[here, column])
        return found


def value_of(text: str) -> float:
    """Return what a cell is worth where it is a date, a time, or begins with a number; else NaN."""
    text = text.lower().strip()
    if not any(sign.isdigit() for sign in text):
        return float("nan")
    month = _MONTH.search(text)
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(text)]
    if month is not None and numbers and len(text) < 32:
        return _days(_MONTHS.index(month[1]) + 1, [abs(number) for number in numbers])
    clock = _CLOCK.match(text)
    if clock is not None:
        parts = [float(part) for part in clock[0].split(":")]
        return sum(part * 60**place for place, part in enumerate(reversed(parts)))
    head = text.lstrip("$£€+~ ")
    first = _NUMBER.match(head) or _NUMBER.match(head.removeprefix("us").lstrip("$ "))
    # A number, perhaps with its unit or a note; not a name that begins with one.
    if first is None or len(re.findall("[a-z]+", head)) >= _PARSED:
        return float("nan")
    return float(first[0].replace(",", ""))


def _days(month: int, numbers: list[float]) -> float:
    years = [number for number in numbers if 1_000 <= number < 3_000]
    days = [number for number in numbers if 1 <= number <= 31]
    return (years[0] * 372 if years else 0.0) + month * 31 + (days[0] if days else 0.0)

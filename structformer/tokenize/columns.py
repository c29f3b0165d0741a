"""What a table's columns are: their kinds, found from training data, and what is kept of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from structformer.tokenize.column_numbers import clip_infinite, describe_numbers, squash
from structformer.tokenize.column_values import (
    Dtype,
    Part,
    infer_dtype,
    looks_like_dates,
    read_numbers,
    read_parts,
    read_strings,
)

Kind = Literal["numeric", "categorical", "text"]
Infinite = Literal["error", "clip"]

# Codes of a cell. What follows FIRST are a categorical column's own categories.
MISSING, PRESENT, UNSEEN, FIRST = 0, 1, 1, 2

_FEW = 20
_MANY = 1000
_ROWS_A_CATEGORY = 10
_LONG = 20


@dataclass(frozen=True)
class Column:
    """One token column of a fitted table, everything needed to encode new cells, as plain JSON values.

    Attributes:
        name: Name of the token column; for the parts of a date it is "when", "when.month" and so on.
        source: Name of the table's column that it is read from.
        kind: "numeric", "categorical" or "text".
        dtype: What the training data held: "number", "boolean", "category", "string", "datetime" or
            "timedelta".
        part: What is read from the cell: its "value", or a part of a date or a duration.
        has_missing: Whether training data had missing cells here.
        categories: Known categories in sorted order (categorical only); number i has code 2 + i.
        mean: Centre of the standardised values (numeric only).
        scale: Spread of the standardised values (numeric only).
        low: Smallest finite training value (numeric only).
        high: Largest finite training value (numeric only).
        integer: Whether all training values are whole numbers (numeric only).
        quantiles: Standardised training values at 49 equally spaced levels from 0 to 1 (numeric only).
    """

    name: str
    source: str
    kind: Kind
    dtype: Dtype
    part: Part = "value"
    has_missing: bool = False
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    quantiles: tuple[float, ...] = ()

    @property
    def cardinality(self) -> int:
        """Number of codes a cell can have: 2 when numeric, 2 + categories, 0 for text (no fixed number)."""
        if self.kind == "text":
            return 0
        return FIRST + len(self.categories)

    def standardise(self, values: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
        """Numbers as the model sees them: (v - mean) / scale, squashed smoothly into ±8; missing gives 0."""
        with np.errstate(over="ignore"):  # the squashing takes infinity to 8
            standard = (values - self.mean) / self.scale
        return np.where(np.isnan(values), 0.0, squash(standard))

    def quantile_bins(self, n_bins: int = 48) -> Float[np.ndarray, "edges"]:
        """Strictly ascending edges of at most `n_bins` bins of about equally many training values.

        Repeated edges (a value that many cells share) are merged, so that there may be fewer bins.
        A column with one value only gets the two edges one unit below and above it.

        Args:
            n_bins: Number of bins wanted, from 1 to 48.

        Returns:
            Between 2 and `n_bins` + 1 edges, on the standardised scale.

        Raises:
            ValueError: The column is not numeric, or `n_bins` is out of range.
        """
        if self.kind != "numeric":
            raise ValueError(f"column {self.name!r} must be numeric to have bins (it is {self.kind})")
        levels = len(self.quantiles) - 1
        if not 1 <= n_bins <= levels:
            raise ValueError(f"n_bins must be from 1 to {levels} (got {n_bins})")
        kept = np.linspace(0, levels, n_bins + 1)
        edges = np.unique(np.interp(kept, np.arange(levels + 1), self.quantiles).round(6))
        return edges if len(edges) > 1 else np.array([edges[0] - 1.0, edges[0] + 1.0])

    def to_dict(self) -> dict[str, Any]:
        """The column as JSON values; `from_dict` reads them back exactly."""
        return asdict(self) | {"categories": list(self.categories), "quantiles": list(self.quantiles)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: A field is unknown or a required one is missing.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"column fields must be among {sorted(known)} (got {unknown})")
        if absent := [name for name in ("name", "source", "kind", "dtype") if name not in values]:
            raise ValueError(f"column fields must include name, source, kind and dtype (missing: {absent})")
        lists: dict[str, Any] = {
            name: tuple(values[name]) for name in ("categories", "quantiles") if name in values
        }
        return cls(**(dict(values) | lists))


def infer_kind(counts: Mapping[str, int]) -> Literal["categorical", "text"]:
    """Whether a column of strings is a categorical or a text one.

    Text, when there are more distinct strings than 20 and than one in ten cells (or than 1,000);
    also when most strings occur once and they are 20 characters long or more on average.

    Args:
        counts: How often each distinct string occurs.
    """
    distinct, cells = len(counts), sum(counts.values())
    if distinct > max(_FEW, min(_MANY, cells // _ROWS_A_CATEGORY)):
        return "text"
    mean_length = sum(map(len, counts)) / max(distinct, 1)
    return "text" if 2 * distinct > cells and mean_length >= _LONG else "categorical"


def fit_column(
    series: pd.Series,
    name: str,
    kind: Kind | None = None,
    infinite: Infinite = "error",
    keep_constant: bool = False,
) -> tuple[Column, ...] | str:
    """Learn the token columns that one column of a table gives: one, or for dates up to four.

    Args:
        series: The column's cells.
        name: The column's name.
        kind: Kind to use instead of the one found.
        infinite: "error", or "clip" to read ±infinity as the largest or smallest finite value.
        keep_constant: Keep a column that never changes, rather than giving the reason to drop it.

    Returns:
        The token columns, or the reason why there is none.

    Raises:
        ValueError: The kind is unknown or does not fit the values, or a value is infinite or nested.
    """
    if kind is not None and kind not in get_args(Kind):
        raise ValueError(f"kind of column {name!r} must be one of {list(get_args(Kind))} (got {kind!r})")
    dtype = infer_dtype(series, name)
    if dtype == "string" and kind is None and looks_like_dates(series):
        dtype = "datetime"
    if kind in ("categorical", "text") or (kind is None and dtype in ("string", "category", "boolean")):
        return _fit_strings(series, name, dtype, kind, keep_constant)
    if kind == "numeric" and dtype in ("string", "category"):
        dtype = "number"
    return _fit_numbers(series, name, dtype, infinite, keep_constant)


def _fit_numbers(
    series: pd.Series, name: str, dtype: Dtype, infinite: Infinite, keep_constant: bool
) -> tuple[Column, ...] | str:
    parts: dict[Part, Float[np.ndarray, "rows"]]
    if dtype in ("datetime", "timedelta"):
        parts = read_parts(series, name, dtype)
    else:
        parts = {"value": read_numbers(series, name)}
    columns: list[Column] = []
    reason = "no value"
    for first, (part, values) in zip((True, *[False] * len(parts)), parts.items(), strict=False):
        finite = clip_infinite(values, series, name, infinite)
        ordered = np.sort(finite[~np.isnan(finite)])
        missing = len(ordered) < len(finite)
        reason = "one value only" if len(ordered) else reason
        varies = len(ordered) > 0 and (ordered[0] < ordered[-1] or (first and missing))
        if not varies and not (first and keep_constant):
            continue
        column = Column(
            name if first else f"{name}.{part}",
            source=name,
            kind="numeric",
            dtype=dtype,
            part=part,
            has_missing=missing,
            **describe_numbers(ordered),
        )
        grid = (
            np.quantile(column.standardise(ordered), np.linspace(0, 1, 49)) if len(ordered) else np.zeros(49)
        )
        columns.append(replace(column, quantiles=tuple(grid.tolist())))
    return tuple(columns) or reason


def _fit_strings(
    series: pd.Series, name: str, dtype: Dtype, kind: Kind | None, keep_constant: bool
) -> tuple[Column, ...] | str:
    cells = read_strings(series, name, dtype)
    counts = cells.counts()
    missing = bool((cells.codes < 0).any())
    if len(counts) + missing < 2 and not keep_constant:
        return "no value" if missing else "one value only"
    if kind is None:
        kind = "categorical" if dtype in ("category", "boolean") else infer_kind(counts)
    categories = tuple(sorted(counts)) if kind == "categorical" else ()
    return (Column(name, name, kind, dtype, has_missing=missing, categories=categories),)

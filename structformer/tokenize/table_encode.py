"""From a frame to its token columns, and from its cells to values and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from structformer.tokenize.column_numbers import clip_infinite
from structformer.tokenize.column_values import Part, Strings, read_numbers, read_parts, read_strings
from structformer.tokenize.columns import (
    FIRST,
    MISSING,
    PRESENT,
    UNSEEN,
    Column,
    Infinite,
    Kind,
    fit_column,
)


@dataclass(frozen=True)
class Cells:
    """The cells of a table as a model takes them.

    Attributes:
        values: Standardised numbers; 0 where missing, and for other kinds.
        codes: 0 missing; numeric 1 present; categorical 1 unseen, 2 + i category i; text: place in `strings`.
        strings: "" for missing text, then the distinct texts in sorted order.
    """

    values: Float[np.ndarray, "rows columns"]
    codes: Int[np.ndarray, "rows columns"]
    strings: list[str]


def fit_columns(
    frame: pd.DataFrame, kinds: Mapping[str, Kind], infinite: Infinite
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """Learn the token columns of a training table, ordered by name, and the reasons for those left out.

    When every column is constant they are all kept, so that there is something to encode.
    """
    for keep_constant in (False, True):
        columns: list[Column] = []
        dropped: dict[str, str] = {}
        taken = set(frame.columns)
        for name in sorted(frame.columns):
            series: Any = frame[name]
            found = fit_column(series, name, kinds.get(name), infinite, keep_constant)
            if isinstance(found, str):
                dropped[name] = found
                continue
            for column in found:
                unique = column.name
                # The table may have a column of its own called like a part of a date.
                while unique != name and unique in taken:
                    unique += "'"
                taken.add(unique)
                columns.append(replace(column, name=unique))
        if columns:
            return tuple(sorted(columns, key=lambda column: column.name)), dropped
    raise ValueError("table must have at least one column (got 0)")


def encode_cells(columns: Sequence[Column], frame: pd.DataFrame, infinite: Infinite) -> Cells:
    """Read the cells of a table by the columns learned in training.

    Args:
        columns: The token columns.
        frame: Table that has all their source columns.
        infinite: What to do with infinite numbers.

    Raises:
        ValueError: A cell cannot be read as its column needs, or is infinite; the error names it.
    """
    values = np.zeros((len(columns), len(frame)), dtype=np.float32)
    codes = np.zeros((len(columns), len(frame)), dtype=np.int64)
    texts: dict[int, Strings] = {}
    read: dict[str, dict[Part, Float[np.ndarray, "rows"]]] = {}
    for number, column in enumerate(columns):
        source = column.source
        series: Any = frame[source]
        if column.kind == "numeric":
            if source not in read:
                read[source] = _read_parts(series, column)
            bounds = (column.low, column.high)
            numbers = clip_infinite(read[source][column.part], series, source, infinite, bounds)
            values[number] = column.standardise(numbers)
            codes[number] = np.where(np.isnan(numbers), MISSING, PRESENT)
            continue
        cells = read_strings(series, source, column.dtype)
        if column.kind == "text":
            texts[number] = cells
        else:
            known = {category: FIRST + place for place, category in enumerate(column.categories)}
            codes[number] = cells.lookup(known, MISSING, UNSEEN)
    distinct = sorted({text for cells in texts.values() for text in cells.counts()})
    places = {text: 1 + place for place, text in enumerate(distinct)}
    for number, cells in texts.items():
        codes[number] = cells.lookup(places, MISSING, MISSING)
    return Cells(np.ascontiguousarray(values.T), np.ascontiguousarray(codes.T), ["", *distinct])


def _read_parts(series: pd.Series, column: Column) -> dict[Part, Float[np.ndarray, "rows"]]:
    if column.part == "value":
        return {"value": read_numbers(series, column.source)}
    return read_parts(series, column.source, column.dtype)

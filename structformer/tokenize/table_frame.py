"""Whatever a person calls a table, as a DataFrame whose column names are distinct strings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse


def as_frame(table: Any) -> tuple[pd.DataFrame, bool]:
    """Read a table; no cell is copied where that can be helped.

    Column names become strings by `str`. Tables without names (arrays, lists of rows) get x0, x1, ..., padded
    with zeros to one length so that sorting keeps their order.

    Args:
        table: DataFrame (of pandas, or anything with `to_pandas`), array, tensor, or list of rows.

    Returns:
        The frame, and whether the table came with names of its own.

    Raises:
        ValueError: The table is sparse, is not two-dimensional, has no column, has columns on several levels,
            or has two columns of one name.
        TypeError: It is no table at all.
    """
    if sparse.issparse(table):
        raise ValueError(
            f"Sparse input is not supported: table must be dense (got a {type(table).__name__}); "
            "try table.toarray() or pandas.DataFrame.sparse.from_spmatrix(table)"
        )
    if hasattr(table, "to_pandas"):
        table = table.to_pandas()
    named = isinstance(table, pd.DataFrame)
    frame = table if isinstance(table, pd.DataFrame) else _from_rows(table)
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"table must have columns on one level (got {frame.columns.nlevels} levels); join them, "
            "for example frame.columns = ['_'.join(map(str, column)) for column in frame.columns]"
        )
    if not frame.shape[1]:
        raise ValueError(
            f"table has 0 feature(s) (shape=({len(frame)}, 0)) while a minimum of 1 is required."
        )
    names = [str(name) for name in frame.columns] if named else array_names(frame.shape[1])
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"column names must be distinct (as strings; repeated: {twice})")
    if not named or any(name is not own for name, own in zip(names, frame.columns, strict=True)):
        frame = frame.set_axis(names, axis=1)
    return frame, named


def match_columns(
    table: Any, needed: set[str], training_names: Sequence[str], training_named: bool
) -> pd.DataFrame:
    """Read a new table, its columns named as in training.

    Tables with names are matched by name; those without, and numbered frames when training had no names
    either, by position.

    Args:
        table: The new table.
        needed: Columns that must be there.
        training_names: All columns of the training table, in its order.
        training_named: Whether the training table came with names of its own.

    Raises:
        ValueError: A needed column is missing, or there are too many or too few to match by position.

    Warns:
        UserWarning: The table has columns that training did not know.
    """
    frame, named = as_frame(table)
    count = len(training_names)
    numbered = [str(number) for number in range(frame.shape[1])]
    if not named or (not training_named and list(frame.columns) == numbered):
        if frame.shape[1] != count:
            # The wording is the one that scikit-learn asks of its estimators.
            raise ValueError(
                f"X has {frame.shape[1]} features, but TableTokenizer is expecting {count} features as input"
            )
        return frame.set_axis(list(training_names), axis=1)
    if absent := sorted(needed - set(frame.columns)):
        raise ValueError(f"table must have the columns it had in training (missing: {absent})")
    if extra := sorted(set(frame.columns) - set(training_names)):
        warnings.warn(
            f"the table has columns that were not there in training; they are ignored: {extra}",
            UserWarning,
            stacklevel=4,
        )
    return frame


def array_names(count: int) -> list[str]:
    """Names for the columns of a table without names: x0 to x9, x00 to x10, and so on."""
    digits = len(str(count - 1))
    return [f"x{number:0{digits}d}" for number in range(count)]


def _from_rows(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.Series):
        table = table.to_numpy()
    if not isinstance(table, np.ndarray):
        if hasattr(table, "__array__"):
            table = np.asarray(table)
        elif isinstance(table, (str, bytes, dict)) or not hasattr(table, "__len__"):
            raise TypeError(
                "table must be a DataFrame, a two-dimensional array or a list of rows "
                f"(got {type(table).__name__})"
            )
    if isinstance(table, np.ndarray):
        if table.ndim != 2:
            raise ValueError(
                f"Expected 2D array, got {table.ndim}D array instead: table must have rows and columns "
                f"(got shape {table.shape}). Reshape your data either using array.reshape(-1, 1) if it has "
                "a single column or array.reshape(1, -1) if it is a single row."
            )
        return pd.DataFrame(table)
    return _from_lists(table)


def _from_lists(rows: Sequence[Any]) -> pd.DataFrame:
    for number, row in enumerate(rows):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__"):
            raise ValueError(
                "Expected 2D array, got 1D array instead: table must be a list of rows "
                f"(row {number} is {row!r}). Reshape your data, for example to [[value] for value in table]."
            )
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} of the table must have {len(rows[0])} cells (got {len(row)})")
    return pd.DataFrame([list(row) for row in rows])

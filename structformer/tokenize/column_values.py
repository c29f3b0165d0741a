"""Reading the cells of one table column, whatever pandas holds them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

Dtype = Literal["number", "boolean", "category", "string", "datetime", "timedelta"]
Part = Literal["value", "days", "month", "weekday", "hour", "seconds"]

_OBJECTS: dict[str, Dtype] = {
    "boolean": "boolean",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "datetime": "datetime",
    "datetime64": "datetime",
    "date": "datetime",
    "period": "datetime",
    "timedelta": "timedelta",
    "timedelta64": "timedelta",
}
_NESTED = (list, tuple, dict, set, frozenset, np.ndarray)
_BOOLEANS = {"0": "False", "1": "True", "false": "False", "true": "True"}
_MICROS_A_DAY = 86_400_000_000
_ISO_DATE = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"


class NestedValueError(ValueError, TypeError):
    """A cell holds a list, a mapping or the like; scikit-learn's contract calls that a TypeError."""


@dataclass(frozen=True)
class Strings:
    """A column's cells as numbers of distinct strings.

    Attributes:
        codes: For each cell the number of its string, or -1 where it is missing.
        values: The strings; some may occur in no cell, and one may stand there twice.
    """

    codes: Int[np.ndarray, "rows"]
    values: list[str]

    def counts(self) -> dict[str, int]:
        """How often each string occurs, for those that do."""
        found: dict[str, int] = {}
        used = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        for value, count in zip(self.values, used.tolist(), strict=True):
            if count:
                found[value] = found.get(value, 0) + count
        return found

    def lookup(self, numbers: dict[str, int], missing: int, unknown: int) -> Int[np.ndarray, "rows"]:
        """For each cell the number given to its string, `missing`, or `unknown`."""
        table = np.array([*(numbers.get(value, unknown) for value in self.values), missing], dtype=np.int64)
        return table[self.codes]


def infer_dtype(series: pd.Series, name: str) -> Dtype:
    """What a column holds. Cells of mixed type count as strings; a column without any value as numbers.

    Args:
        series: The column's cells.
        name: The column's name, for errors.

    Raises:
        ValueError: A cell is a complex number, or a list or other nested value.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        dtype = dtype.subtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if isinstance(dtype, pd.StringDtype):
        return "string" if series.notna().any() else "number"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} holds complex numbers")
    if pd.api.types.is_numeric_dtype(dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "datetime"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "timedelta"
    values: Any = series[series.notna()].astype(object)
    if not len(values):
        return "number"
    found = pd.api.types.infer_dtype(values)
    if found.startswith(("mixed", "complex")):
        _refuse_nested(values, name)
    return _OBJECTS.get(found, "string")


def read_numbers(series: pd.Series, name: str) -> Float[np.ndarray, "rows"]:
    """The cells as numbers, NaN where missing; strings that spell a number are read, blank ones are missing.

    Raises:
        ValueError: A cell is no number; the error names the column, the first such cell and its row.
    """
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    dtype = infer_dtype(series, name)
    if dtype in ("datetime", "timedelta"):
        raise ValueError(f"column {name!r} must hold numbers (got {series.dtype})")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    cells: Any = series.astype(object)
    present = cells.notna().to_numpy()
    numbers = np.full(len(cells), np.nan)
    parsed: Any = pd.to_numeric(cells[present], errors="coerce")
    numbers[present] = parsed.to_numpy(np.float64, na_value=np.nan)
    suspect = np.flatnonzero(present & np.isnan(numbers))
    blank = ("", "nan")
    bad = [int(row) for row in suspect if str(cells.iloc[row]).strip().lower() not in blank]
    if bad:
        raise _unreadable(series, name, "a number", bad)
    return numbers


def read_strings(series: pd.Series, name: str, dtype: Dtype = "string") -> Strings:
    """The cells as strings: whole numbers without a decimal point, so that 1, 1.0 and "1" are one string.

    Args:
        series: The column's cells.
        name: The column's name, for errors.
        dtype: What the training data held; for "boolean", 0, 1, "true" and "FALSE" are read as booleans.

    Raises:
        ValueError: A cell is a complex number, or a list or other nested value.
    """
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, found = series.cat.codes.to_numpy(np.int64), series.cat.categories
    else:
        if series.dtype == object:
            infer_dtype(series, name)
            # True and 1 are equal, so which of the two a mixed column shows would depend on its first row.
            series = series.map(_as_string, na_action="ignore")
        codes, found = pd.factorize(series)
    values = [_as_string(value) for value in found]
    if dtype == "boolean":
        values = [_BOOLEANS.get(value.lower(), value) for value in values]
    return Strings(np.asarray(codes, dtype=np.int64), values)


def looks_like_dates(series: pd.Series) -> bool:
    """Whether every string is an ISO 8601 date, as in "2024-02-29" or "2024-02-29T12:30:00Z"."""
    distinct = pd.Series(series.dropna().unique()).astype(object)
    if not len(distinct) or not all(isinstance(value, str) for value in distinct):
        return False
    if not bool(distinct.str.fullmatch(_ISO_DATE).all()):
        return False
    return bool(pd.to_datetime(distinct, errors="coerce", utc=True, format="ISO8601").notna().all())


def read_parts(series: pd.Series, name: str, dtype: Dtype) -> dict[Part, Float[np.ndarray, "rows"]]:
    """The numbers that stand for a date (days since 1970, month, weekday, hour) or a duration (seconds).

    Times with a zone are read in UTC, strings as ISO 8601. Missing cells are NaN in every part.

    Raises:
        ValueError: A cell is no date or duration; the error names the column, the first such cell and
            its row.
    """
    if dtype == "timedelta":
        durations = _read_times(series, name, "a duration")
        return {"seconds": (durations / pd.Timedelta(seconds=1)).to_numpy(np.float64)}
    dates = _read_times(series, name, "a date")
    # Differences in pandas' nanoseconds would overflow beyond the years 1677 and 2262.
    micros = dates.to_numpy("datetime64[us]")
    days = pd.Series(np.where(np.isnat(micros), np.nan, micros.astype(np.int64) / _MICROS_A_DAY))
    parts: dict[Part, Any] = {
        "days": days,
        "month": dates.dt.month,
        "weekday": dates.dt.day_of_week,
        "hour": dates.dt.hour,
    }
    return {part: values.to_numpy(np.float64) for part, values in parts.items()}


def _read_times(series: pd.Series, name: str, wanted: Literal["a date", "a duration"]) -> pd.Series:
    is_date = wanted == "a date"
    found = infer_dtype(series, name)
    present = series.notna()
    if found not in ("datetime" if is_date else "timedelta", "string", "category") and present.any():
        raise _unreadable(series, name, wanted, np.flatnonzero(present).tolist())
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    elif found == "datetime" and pd.api.types.infer_dtype(series, skipna=True) == "period":
        series = series.map(lambda period: period.to_timestamp(), na_action="ignore")
    cells = series.astype(object) if found in ("string", "category") else series
    if is_date:
        style = "ISO8601" if found in ("string", "category") else None
        times = pd.to_datetime(cells, errors="coerce", utc=True, format=style).dt.tz_localize(None)
    else:
        times = pd.to_timedelta(cells, errors="coerce")
    bad = np.flatnonzero((times.isna() & present).to_numpy()).tolist()
    if bad:
        raise _unreadable(series, name, wanted, bad)
    return times


def _as_string(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def _refuse_nested(values: pd.Series, name: str) -> None:
    for row, value in values.items():
        if isinstance(value, (complex, np.complexfloating)):
            raise ValueError(f"Complex data not supported: column {name!r} holds {value} in row {row}")
        if isinstance(value, _NESTED):
            raise NestedValueError(
                f"column {name!r}: a cell argument must be a string or a number, date or truth value "
                f"(got a {type(value).__name__} in row {row})"
            )


def _unreadable(series: pd.Series, name: str, wanted: str, bad: list[int]) -> ValueError:
    return ValueError(
        f"column {name!r} must hold {wanted} in each cell (got {series.astype(object).iloc[bad[0]]!r} "
        f"in row {series.index[bad[0]]}; {len(bad)} such cells in all)"
    )

"""Files to tables and back: csv, parquet, and npy for numbers alone.

Every reader raises a ValueError (or the OSError of a file that is not there) that names the file and
what is wrong with it. Every writer writes under a temporary name in the same directory and renames,
so that a reader never meets half a file.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from structformer.writing import replacing, writable

TABLE_SUFFIXES = (".csv", ".parquet")
OUTPUT_SUFFIXES = (*TABLE_SUFFIXES, ".npy")
_DELIMITERS = (",", ";", "\t", "|")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")


def read_table(path: str | Path, delimiter: str = ",") -> pd.DataFrame:
    """Read a table from a ``.csv`` or ``.parquet`` file.

    In a csv file the first line names the columns. Columns of ISO dates (``2024-05-31``, with or without
    a time) are read as dates; all else is as pandas reads it.

    Args:
        path: The file; its suffix says which of the two it is.
        delimiter: What stands between the fields of a csv file.

    Raises:
        ValueError: The suffix is unknown, the file is empty or damaged, its delimiter is another one,
            or two columns share a name.
        OSError: The file cannot be opened.
    """
    path = existing_file(path, TABLE_SUFFIXES, "a table")
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{path} is not a readable parquet file (truncated?): {error_line(error)}"
            ) from error
    header, first = _first_records(path, delimiter)
    _check_delimiter(path, header, first, delimiter)
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has more than one column named {some_of(twice)}: rename all but one")
    # pandas would take the surplus fields of every row for an index.
    if len(first) > len(header):
        raise ValueError(f"{path} names {len(header)} columns, but its first row has {len(first)} fields")
    try:
        frame = pd.read_csv(path, sep=delimiter, low_memory=False)
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{path} is not a readable csv file: {error_line(error)}") from error
    return _with_dates(frame)


def check_output(path: str | Path, suffixes: Sequence[str] = OUTPUT_SUFFIXES) -> Path:
    """Return ``path`` if a file of that name can be written, before any work is spent on its content."""
    return writable(path, suffixes)


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a table to a ``.csv`` or ``.parquet`` file, or its numeric columns to a ``.npy`` file.

    The index is written where it says more than the row's position.

    Raises:
        ValueError: The suffix is unknown.
        OSError: The file cannot be written.
    """
    path = check_output(path)
    suffix = path.suffix.lower()
    keep_index = not isinstance(frame.index, pd.RangeIndex)
    with replacing(path) as temporary:
        if suffix == ".csv":
            frame.to_csv(temporary, index=keep_index)
        elif suffix == ".parquet":
            frame.to_parquet(temporary, index=keep_index)
        else:
            with temporary.open("wb") as file:
                np.save(file, frame.select_dtypes("number").to_numpy(), allow_pickle=False)
    return path


def existing_file(path: str | Path, suffixes: Sequence[str], what: str) -> Path:
    """Return ``path`` if it is a file with something in it and its suffix is one of ``suffixes``."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not {what}")
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise ValueError(f"{path} ends in {path.suffix or 'no suffix'!r}, not {what}; known are {known}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    return path


def _first_records(path: Path, delimiter: str) -> tuple[list[str], list[str]]:
    if len(delimiter) != 1:
        raise ValueError(f"delimiter must be one character (got {delimiter!r})")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            records = (record for record in csv.reader(file, delimiter=delimiter) if record)
            header = next(records, None)
            first = next(records, [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a readable csv file in UTF-8: {error_line(error)}") from error
    if header is None:
        raise ValueError(f"{path} is empty")
    return header, first


def _check_delimiter(path: Path, header: list[str], first: list[str], delimiter: str) -> None:
    """Refuse a file whose every line was read as one field although another delimiter splits it."""
    if len(header) != 1:
        return
    for other in _DELIMITERS:
        # The first row must be split as often, or a lone column named "a|b" would be refused.
        # Decimal commas may have split it further, so that its fields are put together again.
        count = header[0].count(other)
        if other != delimiter and count and (not first or delimiter.join(first).count(other) == count):
            raise ValueError(
                f"{path} was read with delimiter {delimiter!r}, as one column named {header[0][:60]!r}; "
                f"its delimiter looks like {other!r} (on the command line: --delimiter {other!r})"
            )


def _with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    for name in frame.columns:
        column = frame[name]
        if not pd.api.types.is_string_dtype(column.dtype):
            continue
        values = column.dropna()
        if len(values) and all(_ISO_DATE.fullmatch(str(value)) for value in values):
            # A date that no calendar has (2024-02-31) leaves the column as it was.
            with suppress(ValueError):
                frame[name] = pd.to_datetime(column, format="ISO8601", utc=True).dt.tz_localize(None)
    return frame


def error_line(error: BaseException) -> str:
    """An error's own words on one line, or its kind where it has none."""
    words = " ".join(str(error).split())
    return words[:200] or type(error).__name__


def some_of(names: Sequence[object], most: int = 10) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

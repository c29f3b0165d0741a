"""The column to be predicted: taken out of a table, checked, read as classes or as numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from structformer.tokenize.files import some_of

_MOST_NUMBERED_CLASSES = 20


def split_target(
    frame: pd.DataFrame, target: str, source: str = "the table"
) -> tuple[pd.DataFrame, pd.Series]:
    """Split a table into its features and the column to be predicted.

    Args:
        frame: A table.
        target: Name of the column to be predicted.
        source: What messages call the table.

    Raises:
        ValueError: There is no such column (the message lists those there are), there is no other, or a
            target is missing or not finite.
    """
    if target not in frame.columns:
        names = some_of(list(frame.columns), 40)
        raise ValueError(f"{source} has no column {target!r}; its columns are {names}")
    if frame.shape[1] == 1:
        raise ValueError(f"{source} has no column besides the target {target!r}")
    values = pd.Series(frame[target])
    bad = values.isna().to_numpy()
    if values.dtype.kind == "f":
        bad = bad | ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        what = "missing" if pd.isna(values.iloc[place]) else str(values.iloc[place])
        others = f", as in {int(bad.sum()) - 1} other rows" if bad.sum() > 1 else ""
        raise ValueError(f"{source}: the target {target!r} is {what} in row {place + 1}{others}")
    if values.dtype.kind == "M":
        raise ValueError(f"{source}: the target {target!r} holds dates; make numbers or classes of them")
    return frame.drop(columns=target), values


def infer_task(target: pd.Series) -> str:
    """Say "regression" for numbers with a fraction or of more than 20 values, else "classification"."""
    if pd.api.types.is_bool_dtype(target.dtype) or not pd.api.types.is_numeric_dtype(target.dtype):
        return "classification"
    values = target.dropna().to_numpy(dtype=np.float64)
    whole = bool((values == np.round(values)).all())
    return "classification" if whole and len(np.unique(values)) <= _MOST_NUMBERED_CLASSES else "regression"

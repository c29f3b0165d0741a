"""Ten tables of mixed types: numbers, categories, free text, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import pandas as pd

from .names import one_of
from .store import read

TARGETS: dict[str, tuple[str, Literal["classification", "regression"]]] = {
    "adult": ("income", "classification"),
    "ames": ("Sale_Price", "regression"),
    "attrition": ("Attrition", "classification"),
    "bank": ("y", "classification"),
    "california_housing": ("MedHouseVal", "regression"),
    "credit_data": ("Status", "classification"),
    "diamonds": ("price", "regression"),
    "mlc_churn": ("churn", "classification"),
    "titanic": ("survived", "classification"),
    "womens_clothing_reviews": ("Recommended IND", "classification"),
}


@dataclass(frozen=True)
class Table:
    """A table and what is to be predicted.

    Attributes:
        frame: The columns to predict from.
        target: The column to predict; nothing of it is missing.
        task: Whether it holds classes or numbers.
    """

    frame: pd.DataFrame
    target: pd.Series
    task: Literal["classification", "regression"]


def mixed_table(name: str) -> Table:
    """Return one of the tables that `TARGETS` names.

    Raises:
        ValueError: If there is no such table, or its file is damaged.
        FileNotFoundError: If it was not downloaded.
    """
    ((path, content),) = read(f"mixed_tables/{one_of('name', name, tuple(TARGETS))}").items()
    frame = _frame(path, content)
    column, task = TARGETS[name]
    return Table(frame.drop(columns=column), frame[column], task)


def _frame(path: str, content: bytes) -> pd.DataFrame:
    """Read a table in any form; the same table is the same frame in all of them."""
    if ".parquet" in path:
        frame = pd.read_parquet(BytesIO(content))
    else:
        compression = "gzip" if path.endswith(".gz") else None
        gaps = ["", "NA", "None"]
        frame = pd.read_csv(BytesIO(content), compression=compression, keep_default_na=False, na_values=gaps)
    # R's names of rows are but their numbers, or names of people.
    frame = frame.drop(columns="rownames", errors="ignore")
    for name in frame.select_dtypes("string"):
        frame[name] = pd.Series(frame[name].to_numpy(object, na_value=None).tolist(), frame.index)
    return frame

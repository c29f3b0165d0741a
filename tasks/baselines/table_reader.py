"""Tables as most libraries take them: numbers with gaps, categories, and free text as numbers or strings."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pandas.api import types
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline

Kind = Literal["number", "date", "category", "text"]

# Some libraries hold 255 categories and no more.
MOST_CATEGORIES = 200


class TableReader(TransformerMixin, BaseEstimator):
    """Learn the columns of a training table, and hand on any table as columns of three kinds.

    Names of the columns handed on begin with their kind. "number": floats, NaN where missing; truth values are 0 and
    1, a date gives days since 1970, month and weekday. "category": pandas' category dtype with the categories of the
    training table; others are missing. "text": strings that are not among few, as numbers or as they are.

    Args:
        components: Numbers a text gives, by latent semantic analysis of its words (TF–IDF); None leaves strings.
        random_state: Seed of that analysis.
    """

    def __init__(self, components: int | None = 30, random_state: int = 0) -> None:
        self.components = components
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn kinds, categories and words."""
        self.kinds_ = {name: kind_of(X[name]) for name in X.columns}
        self.levels_ = {
            name: pd.CategoricalDtype(sorted(_strings(X[name]).dropna().unique()))
            for name, kind in self.kinds_.items()
            if kind == "category"
        }
        self.words_ = {
            name: self._analysis(_strings(X[name]).fillna(""))
            for name, kind in self.kinds_.items()
            if kind == "text" and self.components is not None
        }
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the columns handed on."""
        columns: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.kinds_.items()):
            columns |= {f"{key}{place}": value for key, value in self._read(X[name], kind).items()}
        return pd.DataFrame(columns, index=X.index)

    def _read(self, series: pd.Series, kind: Kind) -> dict[str, Any]:
        if kind == "number":
            return {"number": series.to_numpy(np.float64, na_value=np.nan)}
        if kind == "date":
            days = (series - pd.Timestamp(0, tz=series.dt.tz)) / pd.Timedelta(days=1)
            parts = {"days": days, "month": series.dt.month, "weekday": series.dt.day_of_week}
            return {
                f"number_{key}_": part.to_numpy(np.float64, na_value=np.nan) for key, part in parts.items()
            }
        strings = _strings(series)
        if kind == "category":
            levels = self.levels_[series.name]
            return {"category": strings.where(strings.isin(levels.categories)).astype(levels)}
        if self.components is None:
            return {"text": strings.fillna("")}
        found = self.words_[series.name].transform(strings.fillna(""))
        return {f"number_component{i}_": part for i, part in enumerate(found.T)}

    def _analysis(self, strings: pd.Series) -> Pipeline:
        words = TfidfVectorizer()
        counted: sparse.csr_matrix = words.fit_transform(strings)
        most = min(self.components or 0, counted.shape[1])
        return Pipeline(
            [("words", words), ("svd", TruncatedSVD(most, random_state=self.random_state).fit(counted))]
        )


def kind_of(series: pd.Series) -> Kind:
    """Return what a column of a training table holds."""
    if types.is_numeric_dtype(series) or types.is_bool_dtype(series):
        return "number"
    if types.is_datetime64_any_dtype(series):
        return "date"
    return "text" if series.nunique() > MOST_CATEGORIES else "category"


def columns_of(frame: pd.DataFrame, kind: str) -> list[str]:
    """Return the names of a kind's columns, of a table that a `TableReader` handed on."""
    return [name for name in frame.columns if name.startswith(kind)]


def _strings(series: pd.Series) -> pd.Series:
    # As objects, whatever they were, so that categories of one table fit those of another.
    return series.astype(object).map(str, na_action="ignore").astype(object)

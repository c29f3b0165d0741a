"""scikit-learn's models for tables, each behind the least that it needs for mixed columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from .table_reader import TableReader, columns_of


def linear(task: str, seed: int, threads: int) -> Pipeline:
    """Return logistic or ridge regression on standardised numbers, one-hot categories and TF–IDF of all words."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    words = make_pipeline(FunctionTransformer(_joined), TfidfVectorizer())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, _Kind("number")),
            ("categories", OneHotEncoder(handle_unknown="ignore"), _Kind("category")),
            ("words", words, _Kind("text")),
        ]
    )
    # A hundred iterations, the default, are too few for some tables.
    model = LogisticRegression(max_iter=1_000) if task == "classification" else Ridge()
    return make_pipeline(TableReader(components=None), columns, model)


def random_forest(task: str, seed: int, threads: int) -> Pipeline:
    """Return a random forest, categories as numbers."""
    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    categories = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
    )
    columns = ColumnTransformer([("categories", categories, _Kind("category"))], remainder="passthrough")
    return make_pipeline(TableReader(), columns, kind(n_jobs=threads, random_state=seed))


def boosting(task: str, seed: int, threads: int) -> Pipeline:
    """Return histogram gradient boosting, which takes gaps and categories as they are."""
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    return make_pipeline(TableReader(), kind(categorical_features="from_dtype", random_state=seed))


class _Kind:
    """Selects a kind's columns."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        return columns_of(frame, self.kind)


def _joined(texts: pd.DataFrame) -> Any:
    return texts.agg(" ".join, axis=1)

"""LightGBM, XGBoost and CatBoost at their defaults; all three take gaps and categories as they are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline, make_pipeline

from .table_reader import TableReader, columns_of


def lightgbm(task: str, seed: int, threads: int) -> Pipeline:
    """Return LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if task == "classification" else LGBMRegressor
    return make_pipeline(TableReader(), kind(n_jobs=threads, random_state=seed, verbose=-1))


def xgboost(task: str, seed: int, threads: int) -> Pipeline:
    """Return XGBoost."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if task == "classification" else XGBRegressor
    return make_pipeline(TableReader(), kind(n_jobs=threads, random_state=seed, enable_categorical=True))


def catboost(task: str, seed: int, threads: int) -> Pipeline:
    """Return CatBoost, which takes text as it is, too."""
    return make_pipeline(TableReader(components=None), CatBoostTable(task, seed, threads))


class CatBoostTable(BaseEstimator):
    """CatBoost on what a `TableReader` handed on, told which columns are categories and which are text."""

    def __init__(self, task: str, random_state: int, threads: int) -> None:
        self.task = task
        self.random_state = random_state
        self.threads = threads

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Train on all rows."""
        from catboost import CatBoostClassifier, CatBoostRegressor

        kind = CatBoostClassifier if self.task == "classification" else CatBoostRegressor
        self.model_: Any = kind(
            random_seed=self.random_state,
            thread_count=self.threads,
            cat_features=columns_of(X, "category"),
            text_features=columns_of(X, "text"),
            verbose=False,
            allow_writing_files=False,
        )
        self.model_.fit(_told(X), y)
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the predicted classes or numbers."""
        return self.model_.predict(_told(X), thread_count=self.threads).reshape(-1)

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class."""
        return self.model_.predict_proba(_told(X), thread_count=self.threads)


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with missing categories by name, the only way in which CatBoost takes them."""
    categories = {
        name: frame[name].astype(object).fillna("(missing)") for name in columns_of(frame, "category")
    }
    return frame.assign(**categories)

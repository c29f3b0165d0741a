"""Point sets: a list of `[n, F]` arrays becomes one packed TokenSet."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.exceptions import NotFittedError
from torch import Tensor

from structformer.tokenize.scaling import Standardizer
from structformer.tokens import TokenSet

ArraySet = np.ndarray | Tensor | pd.DataFrame | Sequence[Any]


class SetTokenizer:
    """Standardises the features of sets and packs the sets, one token an element.

    Each set is a numpy array, a tensor, a nested list or a DataFrame of shape `[n, F]`, n at least 1 and free
    to differ from set to set; a `[B, n, F]` array is B sets. When the training sets are DataFrames, columns
    are matched by name afterwards: another order is put right, extra columns are ignored with a warning,
    missing ones are an error. Scaling follows `Standardizer`: columns of 0 and 1 keep their values.

    Attributes:
        num_features_: F.
        feature_names_: column names when the training sets are DataFrames, else None.
        scaler_: the `Standardizer`; `mean_` and `scale_` are its numbers as float64 tensors `[F]`.
    """

    def __init__(self) -> None:
        self.num_features_: int = 0
        self.feature_names_: tuple[str, ...] | None = None
        self.scaler_: Standardizer | None = None

    @property
    def mean_(self) -> Float[Tensor, "features"]:
        """The mean taken off each feature."""
        return torch.tensor(self._fitted().mean, dtype=torch.float64)

    @property
    def scale_(self) -> Float[Tensor, "features"]:
        """The number each feature is divided by."""
        return torch.tensor(self._fitted().scale, dtype=torch.float64)

    def fit(self, sets: Iterable[ArraySet]) -> SetTokenizer:
        """Learns the number, the names and the scale of the features.

        Raises:
            ValueError: if there are no sets, or one is empty, not numeric, not finite, or of another width.
        """
        self._fit(list(sets))
        return self

    def transform(self, sets: Iterable[ArraySet]) -> TokenSet:
        """Packs new sets.

        Returns:
            A TokenSet with float32 `x [T, F]` and `ptr [B + 1]`; `names` are the DataFrames' row labels, and
            None when any set is something else.

        Raises:
            ValueError: as in `fit`, and for columns the training sets had and these lack.
            NotFittedError: before `fit`.
        """
        scaler = self._fitted()
        sets = list(sets)
        return self._pack(sets, self._stack(sets), scaler)

    def fit_transform(self, sets: Iterable[ArraySet]) -> TokenSet:
        """`fit(sets)`, then `transform(sets)`, reading the sets once."""
        sets = list(sets)
        rows = self._fit(sets)
        return self._pack(sets, rows, self._fitted())

    def to_dict(self) -> dict[str, Any]:
        """The fitted state, JSON-ready."""
        names = None if self.feature_names_ is None else list(self.feature_names_)
        return {"num_features": self.num_features_, "names": names, "scaler": self._fitted().to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SetTokenizer:
        """The inverse of `to_dict`."""
        self = cls()
        self.num_features_ = int(state["num_features"])
        self.feature_names_ = None if state["names"] is None else tuple(state["names"])
        self.scaler_ = Standardizer.from_dict(state["scaler"])
        return self

    def _fitted(self) -> Standardizer:
        if self.scaler_ is None:
            raise NotFittedError("SetTokenizer is not fitted: call fit(sets) first")
        return self.scaler_

    def _fit(self, sets: list[Any]) -> list[np.ndarray]:
        self.feature_names_, self.num_features_ = None, 0
        if sets and isinstance(sets[0], pd.DataFrame):
            self.feature_names_ = _column_names(sets[0], 0)
        rows = self._stack(sets)
        self.num_features_ = rows[0].shape[1]
        self.scaler_ = Standardizer.fit(np.concatenate(rows))
        return rows

    def _stack(self, sets: list[Any]) -> list[np.ndarray]:
        """Every set as a checked `[n, F]` array."""
        if not sets:
            raise ValueError("sets is empty: at least 1 set is needed")
        rows = [_as_array(self._match(item, index), index) for index, item in enumerate(sets)]
        width = self.num_features_ or rows[0].shape[1]
        for index, array in enumerate(rows):
            if array.shape[1] != width:
                raise ValueError(f"set {index} has {array.shape[1]} features, but {width} are expected")
        return rows

    def _match(self, item: Any, index: int) -> Any:
        """A DataFrame's columns in the order seen in training; anything else untouched."""
        if self.feature_names_ is None or not isinstance(item, pd.DataFrame):
            return item
        names = _column_names(item, index)
        missing = [name for name in self.feature_names_ if name not in names]
        if missing:
            raise ValueError(f"set {index} lacks the columns {missing}")
        extra = [name for name in names if name not in self.feature_names_]
        if extra:
            warnings.warn(f"set {index}: columns not seen in training are ignored: {extra}", stacklevel=4)
        return item.iloc[:, [names.index(name) for name in self.feature_names_]]

    def _pack(self, sets: list[Any], rows: list[np.ndarray], scaler: Standardizer) -> TokenSet:
        ptr = np.cumsum([0, *(len(array) for array in rows)])
        names = None
        if all(isinstance(item, pd.DataFrame) for item in sets):
            names = [str(label) for item in sets for label in item.index]
        x = torch.from_numpy(scaler(np.concatenate(rows)))
        return TokenSet(x=x, ptr=torch.from_numpy(ptr), names=names)


def _column_names(frame: pd.DataFrame, index: int) -> tuple[str, ...]:
    names = tuple(map(str, frame.columns))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"set {index} has several columns named {twice}")
    return names


def _as_array(item: Any, index: int) -> np.ndarray:
    """A set as a finite, non-empty float array `[n, F]`; errors name the set."""
    if isinstance(item, Tensor):
        item = item.detach().cpu().double().numpy()
    try:
        array = np.asarray(item, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"set {index} is not a numeric array of shape [n, F]: {error}") from None
    if array.ndim != 2:
        shape = list(array.shape)
        raise ValueError(
            f"set {index} has shape {shape}, but [n, F] is needed; reshape(-1, 1) for one feature"
        )
    if 0 in array.shape:
        what = "elements" if array.shape[0] == 0 else "features"
        raise ValueError(f"set {index} has no {what} (shape {list(array.shape)})")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise ValueError(
            f"set {index} has {array[row, column]} at row {row}, column {column}; only finite values"
        )
    return array

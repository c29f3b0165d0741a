"""TabM, its authors' implementation, trained as they train it (arXiv 2410.24210)."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings, compute_bins
from sklearn.base import BaseEstimator
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from .table_reader import TableReader, columns_of

BINS, BIN_FEATURES = 48, 16


def tabm(task: str, seed: int, threads: int, **options: Any) -> Pipeline:
    """Return TabM with piecewise-linear embeddings of numbers.

    Args:
        task: "classification" or "regression".
        seed: Of weights, batches and the held-out part.
        threads: As many as torch has.
        **options: Of `TabMTable`.
    """
    return make_pipeline(TableReader(), TabMTable(task, seed, **options))


class TabMTable(BaseEstimator):
    """TabM on what a `TableReader` handed on, with the hyper-parameters that its authors suggest.

    Numbers are brought to a normal distribution by their quantiles, gaps filled with the mean and marked. A part of the
    rows is held out: training ends when their loss has not fallen for `patience` epochs, and the best epoch is kept.

    Args:
        task: "classification" or "regression".
        random_state: Of weights, batches and the held-out part.
        held_out: Share of the rows.
        patience: Epochs.
        batch_size: Rows.
        learning_rate: Constant, as the weight decay is.
        weight_decay: Decoupled.
        epochs: Most of them.
        sizes: Arguments of `TabM.make` that are not to be at their defaults, such as {"k": 8}.
    """

    def __init__(
        self,
        task: str,
        random_state: int,
        held_out: float = 0.15,
        patience: int = 16,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        weight_decay: float = 3e-4,
        epochs: int = 1_000,
        sizes: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task
        self.random_state = random_state
        self.held_out = held_out
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.sizes = sizes

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Train until the held-out part says that it is enough."""
        classes = y if self.task == "classification" else None
        train, held = train_test_split(
            np.arange(len(X)), test_size=self.held_out, stratify=classes, random_state=self.random_state
        )
        self._learn_columns(X.iloc[train])
        self.mean_, self.spread_ = (0.0, 1.0) if classes is not None else (y[train].mean(), y[train].std())
        target = torch.from_numpy(
            y if classes is not None else ((y - self.mean_) / self.spread_).astype(np.float32)
        )
        given, kept = self._read(X.iloc[train]), self._read(X.iloc[held])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.model_ = self._build(given[0], 1 if classes is None else int(y.max()) + 1)
            self.epochs_ = self._train(given, target[train], kept, target[held])
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the predicted classes or numbers."""
        if self.task == "classification":
            return self.predict_proba(X).argmax(1)
        return self._outputs(self._read(X)).mean(1)[:, 0].double().numpy() * self.spread_ + self.mean_

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class: the mean over the members."""
        return self._outputs(self._read(X)).double().softmax(-1).mean(1).numpy()

    def _learn_columns(self, train: pd.DataFrame) -> None:
        numbers, categories = train[columns_of(train, "number")], train[columns_of(train, "category")]
        self.numbers_ = None
        if numbers.shape[1]:
            quantiles = QuantileTransformer(
                n_quantiles=max(min(len(train) // 30, 1_000), 10),
                output_distribution="normal",
                subsample=len(train),
                random_state=self.random_state,
            )
            filled = make_pipeline(SimpleImputer(add_indicator=True), VarianceThreshold())
            values = filled.fit_transform(numbers)
            # With a little noise, values that many rows share do not all land on one end of their quantiles.
            noise = np.random.default_rng(self.random_state).normal(0, 1e-5, values.shape)
            self.numbers_ = Pipeline([("filled", filled), ("quantiles", quantiles.fit(values + noise))])
        # Unknown categories and gaps share a code of their own, the last.
        self.levels_ = [len(categories[name].cat.categories) for name in categories.columns]

    def _read(self, frame: pd.DataFrame) -> tuple[Tensor, Tensor]:
        numbers = np.zeros((len(frame), 0))
        if self.numbers_ is not None:
            numbers = self.numbers_.transform(frame[columns_of(frame, "number")])
        codes = [frame[name].cat.codes.to_numpy(np.int64) for name in columns_of(frame, "category")]
        coded = [np.where(code < 0, levels, code) for code, levels in zip(codes, self.levels_, strict=True)]
        stacked = np.stack(coded, axis=1) if coded else np.zeros((len(frame), 0), dtype=np.int64)
        return torch.from_numpy(numbers.astype(np.float32)), torch.from_numpy(stacked)

    def _build(self, numbers: Tensor, outputs: int) -> nn.Module:
        from tabm import TabM

        embeddings = None
        if numbers.shape[1]:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*just two bin edges", category=UserWarning)
                bins = compute_bins(numbers, n_bins=min(BINS, len(numbers) - 1))
                embeddings = PiecewiseLinearEmbeddings(bins, BIN_FEATURES, activation=False, version="B")
        return TabM.make(
            n_num_features=numbers.shape[1],
            cat_cardinalities=[levels + 1 for levels in self.levels_],
            d_out=outputs,
            num_embeddings=embeddings,
            **(self.sizes or {}),
        )

    def _train(
        self, given: tuple[Tensor, Tensor], target: Tensor, kept: tuple[Tensor, Tensor], truth: Tensor
    ) -> int:
        optimizer = torch.optim.AdamW(
            self.model_.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )
        best, weights, kept_at, epoch = math.inf, {}, 0, 0
        for epoch in range(1, self.epochs + 1):
            self.model_.train()
            for rows in torch.randperm(len(target)).split(self.batch_size):
                loss = self._loss(_called(self.model_, given[0][rows], given[1][rows]), target[rows])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model_.parameters(), 1.0)
                optimizer.step()
            found = self._held_loss(self._outputs(kept), truth)
            if found < best:
                best, weights, kept_at = found, copy.deepcopy(self.model_.state_dict()), epoch
            if epoch - kept_at >= self.patience:
                break
        self.model_.load_state_dict(weights)
        return epoch

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        # Every member learns by itself: the mean of their losses, not the loss of their mean.
        members, repeated = outputs.flatten(0, 1), target.repeat_interleave(outputs.shape[1])
        if self.task == "classification":
            return F.cross_entropy(members, repeated)
        return F.mse_loss(members[:, 0], repeated)

    def _held_loss(self, outputs: Tensor, truth: Tensor) -> float:
        if self.task == "classification":
            return float(F.nll_loss(outputs.softmax(-1).mean(1).log(), truth))
        return float(F.mse_loss(outputs.mean(1)[:, 0], truth))

    @torch.no_grad()
    def _outputs(self, given: tuple[Tensor, Tensor]) -> Tensor:
        self.model_.eval()
        parts = zip(given[0].split(1_024), given[1].split(1_024), strict=True)
        return torch.cat([_called(self.model_, *part) for part in parts])


def _called(model: nn.Module, numbers: Tensor, codes: Tensor) -> Tensor:
    # TabM takes nothing, not an empty tensor, where there are no such columns.
    return model(numbers if numbers.shape[1] else None, codes if codes.shape[1] else None)

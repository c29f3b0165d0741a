"""Per-column standardisation that leaves binary columns alone and bends far outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Real

LINEAR_RANGE = 8.0
"""Standardised values up to this size are kept; beyond it they grow like a logarithm."""


@dataclass(frozen=True)
class Standardizer:
    """Column means and scales of training data: `z = (x - mean) / scale`.

    A column that holds only 0 and 1 keeps its values (mean 0, scale 1). A constant column is centred and
    not scaled. Values further than 8 scales from the mean are bent, so that one wild value at predict time
    cannot overflow the model: `|z| -> 8 + log(1 + |z| - 8)`, which is monotone and has no kink in value.

    Attributes:
        mean: one number a column.
        scale: one positive number a column.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, values: Real[np.ndarray, "rows columns"], constant: float = 1e-10) -> Standardizer:
        """Measures the columns of finite training values.

        Args:
            values: the training rows; with no rows at all the columns are left as they are.
            constant: a column counts as constant when its standard deviation is at most this share of its
                largest absolute value.
        """
        if len(values) == 0:
            return cls((0.0,) * values.shape[1], (1.0,) * values.shape[1])
        mean = values.mean(axis=0, dtype=np.float64)
        deviation = values.std(axis=0, dtype=np.float64)
        largest = np.abs(values).max(axis=0).astype(np.float64)
        scale = np.where(deviation > constant * largest, deviation, 1.0)
        binary = ((values == 0) | (values == 1)).all(axis=0)
        return cls(
            tuple(np.where(binary, 0.0, mean).tolist()),
            tuple(np.where(binary, 1.0, scale).tolist()),
        )

    def __call__(self, values: Real[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
        """Standardised values as float32; computed in float64, so large offsets lose nothing."""
        z = (values.astype(np.float64) - np.array(self.mean)) / np.array(self.scale)
        excess = np.maximum(np.abs(z) - LINEAR_RANGE, 0.0)
        bent = np.where(excess > 0, np.sign(z) * (LINEAR_RANGE + np.log1p(excess)), z)
        return bent.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The fitted numbers as JSON-ready lists."""
        return {"mean": list(self.mean), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Standardizer:
        """The inverse of `to_dict`."""
        return cls(tuple(map(float, state["mean"])), tuple(map(float, state["scale"])))

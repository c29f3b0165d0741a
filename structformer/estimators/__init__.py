"""Estimators with the scikit-learn interface."""

from __future__ import annotations

import os

from structformer.estimators.base import StructFormerEstimator
from structformer.estimators.tables import StructFormerClassifier, StructFormerRegressor
from structformer.training import load_checkpoint

__all__ = [
    "StructFormerClassifier",
    "StructFormerRegressor",
    "load",
]


def load(folder: str | os.PathLike[str]) -> StructFormerEstimator:
    """Read an estimator that `save` wrote; no code is run from the folder.

    Args:
        folder: The folder given to `save`.

    Returns:
        The fitted estimator; `history_` is None.

    Raises:
        FileNotFoundError: There is no model at ``folder``.
        ValueError: A file is damaged, of a newer format, or names an unknown estimator.
    """
    state, tensors = load_checkpoint(folder)
    known = {name: globals()[name] for name in __all__ if name != "load"}
    if state.get("class") not in known:
        raise ValueError(f"{folder} holds a {state.get('class')!r}; this version knows {sorted(known)}")
    return known[state["class"]]._from_saved(state, tensors)

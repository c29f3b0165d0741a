"""Estimators with the scikit-learn interface."""

from __future__ import annotations

import os

from structformer.estimators.base import StructFormerEstimator
from structformer.estimators.encoders import GraphEncoder, SetEncoder
from structformer.estimators.graphs import GraphClassifier, GraphRegressor
from structformer.estimators.nodes import NodeClassifier
from structformer.estimators.questions import QuestionAnswerer
from structformer.estimators.sets import SetClassifier, SetRegressor
from structformer.estimators.table_encoder import TableEncoder
from structformer.estimators.tables import StructFormerClassifier, StructFormerRegressor
from structformer.training import load_checkpoint

__all__ = [
    "GraphClassifier",
    "GraphEncoder",
    "GraphRegressor",
    "NodeClassifier",
    "QuestionAnswerer",
    "SetClassifier",
    "SetEncoder",
    "SetRegressor",
    "StructFormerClassifier",
    "StructFormerRegressor",
    "TableEncoder",
    "load",
]

_SAVED: tuple[type[StructFormerEstimator], ...] = (
    GraphClassifier,
    GraphEncoder,
    GraphRegressor,
    NodeClassifier,
    QuestionAnswerer,
    SetClassifier,
    SetEncoder,
    SetRegressor,
    StructFormerClassifier,
    StructFormerRegressor,
    TableEncoder,
)


def load(folder: str | os.PathLike[str]) -> StructFormerEstimator:
    """Read an estimator that `save` wrote; no code is run from the folder.

    Args:
        folder: The folder given to `save`.

    Returns:
        The fitted estimator.

    Raises:
        FileNotFoundError: There is no model at ``folder``.
        ValueError: A file is damaged, of a newer format, or names an unknown estimator.
    """
    state, tensors = load_checkpoint(folder)
    known = {estimator.__name__: estimator for estimator in _SAVED}
    if state.get("class") not in known:
        raise ValueError(f"{folder} holds a {state.get('class')!r}; this version knows {sorted(known)}")
    return known[state["class"]]._from_saved(state, tensors)

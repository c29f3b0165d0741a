"""scikit-learn's classifiers as rivals: they see features and no graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch import Tensor

from ..node_problem import Nodes, Predictor

MODELS = ("logistic regression", "random forest", "RBF SVM")


def fit_row_classifier(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Train a classifier on the nodes to learn from.

    Args:
        nodes: The nodes.
        options: Of the classifier, and "model", its name.
        seed: Decides what is drawn at random.

    Raises:
        ValueError: If the model is not among `MODELS`.
    """
    options = dict(options)
    model = _model(options.pop("model"), options, seed)
    model.fit(nodes.x[nodes.train].numpy(), nodes.labels[nodes.train].numpy())

    def predict(nodes: Nodes) -> Tensor:
        if isinstance(model, SVC):
            found = torch.as_tensor(model.decision_function(nodes.x.numpy()))
            found = torch.stack([-found, found], dim=1) if found.ndim == 1 else found
        else:
            found = torch.as_tensor(model.predict_proba(nodes.x.numpy()))
        scores = found.new_full((len(found), nodes.classes), float("-inf"))
        scores[:, torch.as_tensor(model.classes_)] = found
        return scores

    return predict


def _model(name: str, options: Mapping[str, Any], seed: int) -> Any:
    if name == "logistic regression":
        return LogisticRegression(max_iter=5_000, **options)
    if name == "random forest":
        return RandomForestClassifier(random_state=seed, n_jobs=torch.get_num_threads(), **options)
    if name == "RBF SVM":
        return SVC(kernel="rbf", break_ties=True, **options)
    raise ValueError(f"model must be among {MODELS} (got {name!r})")

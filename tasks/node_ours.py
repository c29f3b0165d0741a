"""Our estimators as arms of node classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

import structformer as sf

from .node_problem import Nodes, Predictor

EDGES = ("both", "given", "learned")


def fit_nodes(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Train `sf.NodeClassifier`.

    Args:
        nodes: The nodes.
        options: Of the estimator, and "edges": "both" listens along the given and the learned graph, "given" learns
            no graph, "learned" is not shown the given one.
        seed: Decides the first weights and what is dropped.

    Raises:
        ValueError: If edges are none of these.
    """
    options = dict(options)
    edges = options.pop("edges", "both")
    if edges not in EDGES:
        raise ValueError(f"edges must be among {EDGES} (got {edges!r})")
    if edges == "given":
        options["model_options"] = {**options.get("model_options", {}), "learn": False}

    def shown(nodes: Nodes) -> Data:
        return Data(x=nodes.x, edge_index=(nodes.without_edges() if edges == "learned" else nodes).edge_index)

    model = sf.NodeClassifier(random_state=seed, verbose=False, **options)
    model.fit(shown(nodes), nodes.labels, train_mask=nodes.train, eval_mask=nodes.val)

    def predict(nodes: Nodes) -> Tensor:
        # PyG nodes are known by their number: in another order, the known labels must be said again.
        return _in_place(model.predict_proba(shown(nodes), known=nodes.learned), model.classes_, nodes)

    return predict


def fit_rows(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Train `sf.StructFormerClassifier`, which sees the rows to learn from and no others."""

    def table(some: Tensor) -> pd.DataFrame:
        return pd.DataFrame(some.numpy(), columns=[f"column {i}" for i in range(some.shape[1])])

    model = sf.StructFormerClassifier(random_state=seed, verbose=False, **options)
    held = table(nodes.x[nodes.val]), nodes.labels[nodes.val].numpy()
    model.fit(table(nodes.x[nodes.train]), nodes.labels[nodes.train].numpy(), eval_set=held)

    def predict(nodes: Nodes) -> Tensor:
        return _in_place(model.predict_proba(table(nodes.x)), model.classes_, nodes)

    return predict


def _in_place(found: Any, classes: Any, nodes: Nodes) -> Tensor:
    """Put the scores of the classes that training has met in their places; others score nothing."""
    scores = torch.zeros(len(nodes.x), nodes.classes, dtype=torch.float64)
    scores[:, torch.as_tensor(classes)] = torch.as_tensor(found, dtype=torch.float64)
    return scores

"""kNN-GCN: a graph neural network on the graph of nearest neighbours, where no graph is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from ..node_problem import Nodes, Predictor
from .node_training import fit_network


def fit_knn_network(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Train a network on the graph of nearest neighbours.

    Args:
        nodes: The nodes.
        options: Of `fit_network`, and "neighbors" and "metric" of the graph.
        seed: Decides the first weights and what is dropped.
    """
    options = dict(options)
    neighbors, metric = options.pop("neighbors"), options.pop("metric", "cosine")

    def linked(nodes: Nodes) -> Nodes:
        return replace(nodes, edge_index=knn_edges(nodes.x, neighbors, metric))

    predict = fit_network(linked(nodes), options, seed)
    return lambda nodes: predict(linked(nodes))


def knn_edges(x: Float[Tensor, "nodes features"], neighbors: int, metric: str) -> Int[Tensor, "2 edges"]:
    """Return edges between each node and its nearest neighbours, both ways."""
    graph = kneighbors_graph(x.numpy(), neighbors, metric=metric, n_jobs=torch.get_num_threads())
    both = (graph + graph.T).tocoo()
    return torch.stack([torch.from_numpy(both.col).long(), torch.from_numpy(both.row).long()])

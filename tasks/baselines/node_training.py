"""Training of rival networks on one graph: all nodes at once, the best epoch by validation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..node_problem import Nodes, Predictor
from .node_networks import NodeNetworkConfig, node_network


@dataclass(frozen=True)
class NodeTrainingConfig:
    """How a network is trained.

    Attributes:
        epochs: Most steps; each sees the whole graph.
        patience: Steps without a better validation score, or a lower validation loss at the same score, before it ends.
        learning_rate: Of Adam.
        weight_decay: Of Adam, as a penalty on the weights.
        row_normalized: Whether each node's features are divided by their sum first.
    """

    epochs: int = 500
    patience: int = 100
    learning_rate: float = 0.01
    weight_decay: float = 5e-4
    row_normalized: bool = False


def fit_network(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Train a network.

    Args:
        nodes: The nodes.
        options: Fields of `NodeNetworkConfig` and `NodeTrainingConfig`.
        seed: Decides the first weights and what is dropped.
    """
    own = [field.name for field in fields(NodeTrainingConfig)]
    config = NodeTrainingConfig(**{name: value for name, value in options.items() if name in own})
    network = NodeNetworkConfig(**{name: value for name, value in options.items() if name not in own})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _trained(nodes, network, config)


def _trained(nodes: Nodes, network: NodeNetworkConfig, config: NodeTrainingConfig) -> Predictor:
    def features(nodes: Nodes) -> Tensor:
        return F.normalize(nodes.x, p=1) if config.row_normalized else nodes.x

    model = node_network(network, nodes.x.shape[1], nodes.classes)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    x, best, since, kept = features(nodes), (-1.0, 0.0), 0, copy.deepcopy(model.state_dict())
    for _ in range(config.epochs):
        model.train()
        optimizer.zero_grad()
        logits = model(x, nodes.edge_index)
        F.cross_entropy(logits[nodes.train], nodes.labels[nodes.train]).backward()
        optimizer.step()
        logits = _asked(model, x, nodes.edge_index)
        loss = float(F.cross_entropy(logits[nodes.val], nodes.labels[nodes.val]))
        found = (nodes.validation(logits), -loss)
        since += 1
        if found > best:
            best, since, kept = found, 0, copy.deepcopy(model.state_dict())
        if since >= config.patience:
            break
    model.load_state_dict(kept)
    return lambda nodes: _asked(model, features(nodes), nodes.edge_index)


@torch.no_grad()
def _asked(model: torch.nn.Module, x: Tensor, edge_index: Tensor) -> Tensor:
    return model.eval()(x, edge_index)

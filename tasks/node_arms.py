"""Who is compared in node classification, each arm with the configurations among which validation chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .baselines.knn_network import fit_knn_network
from .baselines.label_spreading import fit_propagation, fit_spreading
from .baselines.node_training import fit_network
from .baselines.row_classifiers import fit_row_classifier
from .node_ours import fit_nodes, fit_rows
from .node_problem import Nodes, Predictor

Config = Mapping[str, Any]
Fit = Callable[[Nodes, Config, int], Predictor]

CONFIGURATIONS = 4
"""That each arm may choose among."""


@dataclass(frozen=True)
class NodeArm:
    """One of those that are compared.

    Attributes:
        name: What it is called in tables.
        fit: Trains it.
        grid: Configurations among which validation chooses, the most usual one first.
        ours: Whether it is made of this library.
    """

    name: str
    fit: Fit
    grid: tuple[Config, ...]
    ours: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.grid) <= CONFIGURATIONS:
            raise ValueError(
                f"{self.name}: grid must hold 1 to {CONFIGURATIONS} configurations (got {len(self.grid)})"
            )


def ours(name: str, *grid: Config, **shared: Any) -> NodeArm:
    """Return an arm that is `sf.NodeClassifier`."""
    return NodeArm(name, fit_nodes, _grid(shared, grid), ours=True)


def ours_on_rows(name: str, *grid: Config, **shared: Any) -> NodeArm:
    """Return an arm that is `sf.StructFormerClassifier`, which is shown the rows to learn from alone."""
    return NodeArm(name, fit_rows, _grid(shared, grid), ours=True)


def network(name: str, *grid: Config, **shared: Any) -> NodeArm:
    """Return an arm that is a graph neural network."""
    return NodeArm(name, fit_network, _grid(shared, grid))


def knn_network(name: str, *grid: Config, **shared: Any) -> NodeArm:
    """Return an arm that is a graph neural network on the graph of nearest neighbours."""
    return NodeArm(name, fit_knn_network, _grid({"kind": "gcn", **shared}, grid))


def rows_alone() -> list[NodeArm]:
    """Return scikit-learn's classifiers."""
    spreading = ({"n_neighbors": 7}, {"n_neighbors": 7, "alpha": 0.8}, {"n_neighbors": 15, "alpha": 0.8})
    return [
        _rows("logistic regression", {"C": 1.0}, {"C": 0.1}, {"C": 10.0}, {"C": 100.0}),
        _rows(
            "random forest",
            {"n_estimators": 500},
            {"n_estimators": 500, "max_features": 0.3},
            {"n_estimators": 500, "min_samples_leaf": 2},
            {"n_estimators": 500, "max_features": "log2"},
        ),
        _rows("RBF SVM", {"C": 1.0}, {"C": 10.0}, {"C": 100.0}, {"C": 10.0, "gamma": "auto"}),
        NodeArm("label spreading", fit_spreading, (*spreading, {**spreading[-1], "unit": True})),
    ]


def propagation() -> NodeArm:
    """Return label propagation along the given edges."""
    grid = [{"num_layers": layers, "alpha": alpha} for layers in (10, 50) for alpha in (0.9, 0.99)]
    return NodeArm("label propagation", fit_propagation, tuple(grid))


def _rows(name: str, *grid: Config) -> NodeArm:
    return NodeArm(name, fit_row_classifier, _grid({"model": name}, grid))


def _grid(shared: Config, grid: tuple[Config, ...]) -> tuple[Config, ...]:
    return tuple({**shared, **config} for config in grid or ({},))

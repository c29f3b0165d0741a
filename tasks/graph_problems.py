"""Graphs with a target each: splits, scores, and what becomes of a prediction when nodes are numbered otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from torch_geometric.data import Data

Measure = Literal["accuracy", "roc_auc", "r2"]
Predict = Callable[[Sequence[Data]], Float[np.ndarray, "graphs outputs"]]
# A predicted number counts as changed from this difference on.
NOTABLE = 1e-3


@dataclass(frozen=True)
class Graphs:
    """Graphs with a target each.

    Attributes:
        graphs: With node features ``x``, and ``edge_attr`` where edges have some.
        target: Classes from 0, or numbers.
    """

    graphs: tuple[Data, ...]
    target: np.ndarray

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.graphs)

    def take(self, rows: Int[np.ndarray, "some"]) -> Graphs:
        """Return some of them."""
        return Graphs(tuple(self.graphs[row] for row in rows.tolist()), self.target[rows])


@dataclass(frozen=True)
class GraphSplit:
    """What a trial is given.

    Attributes:
        train: To learn from.
        validation: To choose the epoch and the settings by.
        test: To judge by.
        measure: What the score is: the share of right classes, the area under the ROC curve, or R².
    """

    train: Graphs
    validation: Graphs
    test: Graphs
    measure: Measure

    @property
    def outputs(self) -> int:
        """Numbers to read out for a graph: one a class, or the number itself."""
        return 1 if self.measure == "r2" else int(self.train.target.max()) + 1


def held_out(
    rows: Int[np.ndarray, "some"], target: np.ndarray | None, share: float, seed: int
) -> tuple[Int[np.ndarray, "kept"], Int[np.ndarray, "held"]]:
    """Hold out a share of some rows; given their classes, of each class alike."""
    kept, held = train_test_split(rows, test_size=share, random_state=seed, stratify=target)
    return np.sort(kept), np.sort(held)


def score(measure: Measure, found: Float[np.ndarray, "graphs outputs"], target: np.ndarray) -> float:
    """Return a score in percent, the higher the better."""
    if measure == "accuracy":
        return 100 * float(np.mean(found.argmax(axis=1) == target))
    if measure == "roc_auc":
        return 100 * float(roc_auc_score(target, found[:, 1]))
    return 100 * float(r2_score(target, found[:, 0]))


def permuted(graph: Data, drawn: torch.Generator) -> Data:
    """Return the same graph with its nodes numbered, and its edges listed, in another order."""
    assert graph.x is not None
    assert graph.edge_index is not None
    order = torch.randperm(len(graph.x), generator=drawn)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    edges = torch.randperm(graph.edge_index.shape[1], generator=drawn)
    found = graph.clone()
    found.x = graph.x[order]
    found.edge_index = place[graph.edge_index[:, edges]]
    if graph.edge_attr is not None:
        found.edge_attr = graph.edge_attr[edges]
    return found


def invariance(
    predict: Predict, graphs: Sequence[Data], permutations: int, drawn: torch.Generator
) -> tuple[float, float]:
    """Return the share of predictions, in percent, that change with the order of nodes, and the largest change.

    Args:
        predict: Returns probabilities of classes, or one number a graph; `NOTABLE` says which numbers differ.
        graphs: From which one is drawn for each permutation.
        permutations: How many.
        drawn: Draws both.
    """
    some = [graphs[row] for row in torch.randint(len(graphs), (permutations,), generator=drawn).tolist()]
    before, after = predict(some), predict([permuted(graph, drawn) for graph in some])
    gaps = np.abs(after - before)
    changed = gaps[:, 0] > NOTABLE if gaps.shape[1] == 1 else before.argmax(axis=1) != after.argmax(axis=1)
    return 100 * float(changed.mean()), float(gaps.max())


@dataclass(frozen=True)
class Point:
    """Settings that are tried.

    Attributes:
        learning_rate: At its highest.
        dropout: Probability of dropping a feature.
    """

    learning_rate: float
    dropout: float


@dataclass(frozen=True)
class Budget:
    """What every arm may use.

    Attributes:
        epochs: Most passes over the training graphs.
        patience: Epochs without a smaller validation loss before training ends.
        batch: Graphs in a batch.
        parameters: Of a network; rivals are made this large.
        grid: Settings that are tried; a forest tries as many of its own.
    """

    epochs: int
    patience: int
    batch: int
    parameters: int
    grid: tuple[Point, ...]

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch", "parameters"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not self.grid:
            raise ValueError("grid must hold at least one point (got none)")


@dataclass(frozen=True)
class Fitted:
    """A model that has been trained.

    Attributes:
        predict: Returns what it says of graphs.
        parameters: How many numbers it has learned; None for a forest.
        epochs: Passes over the training graphs until it was at its best; None for a forest.
        settings: With which it was trained.
    """

    predict: Predict
    parameters: int | None
    epochs: int | None
    settings: Mapping[str, Any]

"""What is asked in node classification: labels of nodes, or of rows without a graph, of which few are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

Score = Literal["accuracy", "ROC-AUC"]


@dataclass(frozen=True)
class Split:
    """Which labels are learned from, which decide between models, and which are asked for."""

    train: Bool[Tensor, " nodes"]
    val: Bool[Tensor, " nodes"]
    test: Bool[Tensor, " nodes"]


@dataclass(frozen=True)
class Nodes:
    """What an arm may see: everything but the labels that are asked for.

    Attributes:
        x: Features.
        edge_index: Edges, source → target; none where there is no graph.
        labels: Classes; -1 where they are not known.
        train: Whose labels may be learned from.
        val: Whose labels may decide between models.
        classes: How many there are.
        measure: What a prediction is scored by.
    """

    x: Float[Tensor, "nodes features"]
    edge_index: Int[Tensor, "2 edges"]
    labels: Int[Tensor, " nodes"]
    train: Bool[Tensor, " nodes"]
    val: Bool[Tensor, " nodes"]
    classes: int
    measure: Score = "accuracy"

    @property
    def learned(self) -> Int[Tensor, " nodes"]:
        """The labels that may be learned from; -1 elsewhere."""
        return self.labels.where(self.train, -1)

    def validation(self, scores: Float[Tensor, "nodes classes"]) -> float:
        """Return how well scores of the classes fit the labels that decide between models."""
        return scored(scores, self.labels, self.val, self.measure)

    def permuted(self, perm: Int[Tensor, " nodes"]) -> Nodes:
        """Return the same nodes in another order: node ``perm[i]`` comes at place i."""
        place = torch.argsort(perm)
        return replace(
            self,
            x=self.x[perm],
            edge_index=place[self.edge_index],
            labels=self.labels[perm],
            train=self.train[perm],
            val=self.val[perm],
        )

    def without_edges(self) -> Nodes:
        """Return the nodes without their graph."""
        return replace(self, edge_index=self.edge_index[:, :0])


@dataclass(frozen=True)
class Problem:
    """Nodes with a split, and the answers.

    Attributes:
        nodes: What arms see.
        answers: The class of every node.
        test: Which are asked for.
    """

    nodes: Nodes
    answers: Int[Tensor, " nodes"]
    test: Bool[Tensor, " nodes"]

    @classmethod
    def of(
        cls, x: Tensor, y: Tensor, split: Split, edge_index: Tensor | None = None, measure: Score = "accuracy"
    ) -> Problem:
        """Hide the labels of all nodes that are neither to learn nor to choose from."""
        edges = torch.zeros(2, 0, dtype=torch.long) if edge_index is None else edge_index
        labels = y.where(split.train | split.val, -1)
        nodes = Nodes(x.float(), edges, labels, split.train, split.val, int(y.max()) + 1, measure)
        return cls(nodes, y, split.test)

    def score(self, scores: Float[Tensor, "nodes classes"]) -> float:
        """Return how well scores of the classes fit the answers."""
        return scored(scores, self.answers, self.test, self.nodes.measure)


Predictor = Callable[[Nodes], Tensor]
"""Scores of the classes for nodes, those that were learned from or others like them: [nodes, classes]."""


def scored(scores: Tensor, labels: Tensor, asked: Tensor, measure: Score) -> float:
    """Return the accuracy or the area under the ROC curve over the nodes asked for, in %."""
    if measure == "accuracy":
        return 100 * float((scores.argmax(1) == labels)[asked].double().mean())
    return 100 * float(roc_auc_score(labels[asked].numpy(), (scores[:, 1] - scores[:, 0])[asked].numpy()))

"""What a node model learns from: the known labels of one graph, and what its unlabelled nodes tell."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.models.node import NodeModel, NodeOutput
from structformer.tokens import TokenSet
from structformer.training.objectives import classification_loss


def one_hot(target: Int[Tensor, " nodes"], classes: int) -> Float[Tensor, "nodes classes"]:
    """Return one-hot rows, zero rows where the class is unknown (-1)."""
    return F.one_hot(target.clamp(min=0), classes).float() * (target >= 0)[:, None]


def rarest(target: Int[Tensor, " nodes"], classes: int) -> int:
    """Return how many known labels the class has that has fewest."""
    return int(torch.bincount(target[target >= 0], minlength=classes).min())


class NodeObjective(ABC):
    """The loss of a training step on one graph. What the encoder itself adds to a loss is added as it is.

    Args:
        target: Class of each node, -1 where it is not known.
        classes: Number of classes.
        class_weight: Weight of each class in the loss, or None.
        seed: Decides what is drawn.

    Attributes:
        known: The nodes whose labels are known.
        labels: One-hot, zero rows where they are not.
        links: The edges along which nodes may listen; None before `prepare`.
        features: Their features without zeros; None before `prepare`, and where they are to be read as they are.
        trust: What labels along the graph should weigh at first, beside what is read.
        given_bonus: By which the data's own edges should stand out from learned ones at first.
    """

    trust, given_bonus = 3.0, 2.0

    def __init__(
        self,
        target: Int[Tensor, " nodes"],
        classes: int,
        class_weight: Float[Tensor, " classes"] | None,
        seed: int,
    ) -> None:
        self.target, self.class_weight = target, class_weight
        self.known = (target >= 0).nonzero().flatten()
        self.labels = one_hot(target, classes)
        self.generator = torch.Generator().manual_seed(seed)
        self.links: TokenGraph | None = None
        self.features: TokenGraph | None = None

    def prepare(self, model: NodeModel, tokens: TokenSet) -> None:
        """Find the edges of the graph that is to be learned from, and its features that are not zero."""
        with torch.no_grad():
            self.links, self.features = model.links(tokens), model.features(tokens)

    def said(self, model: nn.Module, tokens: TokenSet, labels: Float[Tensor, "nodes classes"]) -> NodeOutput:
        """Return what a model says of the graph that was prepared, on the device where its tokens are."""
        device = tokens.x.device
        assert self.links is not None
        self.links = self.links.to(device)
        self.features = None if self.features is None else self.features.to(device)
        return model(tokens, labels.to(device), self.links, self.features)

    @abstractmethod
    def __call__(self, model: nn.Module, tokens: TokenSet) -> Float[Tensor, ""]:
        """Return the loss of one step."""

    def _fit(self, logits: Float[Tensor, "nodes classes"], nodes: Int[Tensor, " some"]) -> Float[Tensor, ""]:
        weight = None if self.class_weight is None else self.class_weight.to(logits)
        return classification_loss(logits[nodes], self.target.to(nodes.device)[nodes], None, weight)

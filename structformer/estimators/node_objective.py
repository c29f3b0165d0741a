"""What a node model learns from: known labels, some hidden in turn, and where they spread."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.models.node import NodeModel, NodeOutput
from structformer.tokens import TokenSet
from structformer.training.objectives import classification_loss

FEWEST_TO_HIDE = 5
"""Known labels of the rarest class from which on labels are hidden in turn."""

SURER = 2.0
"""Power to which what spreads is raised before it teaches."""

KEPT = 0.9
"""Share of the teacher that stays from step to step."""


def one_hot(target: Int[Tensor, " nodes"], classes: int) -> Float[Tensor, "nodes classes"]:
    """Return one-hot rows, zero rows where the class is unknown (-1)."""
    return F.one_hot(target.clamp(min=0), classes).float() * (target >= 0)[:, None]


class NodeObjective:
    """The loss of a training step on one graph.

    All nodes are taught: what the encoder reads is to fit a teacher, which is right where labels are known, and
    elsewhere is a moving mean of what spreads along the graph (self-training: labels first, then labels and readings),
    made surer. The fewer labels the rarest class has, n, the more it holds to what label propagation along the
    untrained graph says: 1 / (1 + n) of it is that. It is not brought to the shares that classes have among the known
    labels: those are often drawn evenly from classes that are not (Cora's public split).

    With labels enough, a random half of the known ones is visible in each step, and the classes of the other half are
    asked for. With few (some class has less than `FEWEST_TO_HIDE`), hiding them would leave nothing to spread: all
    stay visible, and what spreads is to fit the teacher as well.

    What the encoder itself adds to a loss is added as it is.

    Args:
        target: Class of each node, -1 where it is not known.
        classes: Number of classes.
        class_weight: Weight of each class in the loss, or None.
        seed: Decides what is hidden when.
    """

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
        self.fewest = int(torch.bincount(target[self.known], minlength=classes).min())
        self.few = self.fewest < FEWEST_TO_HIDE
        self.generator = torch.Generator().manual_seed(seed)
        self.anchor: Tensor | None = None
        self.teacher: Tensor | None = None
        self.links: TokenGraph | None = None

    def prepare(self, model: NodeModel, tokens: TokenSet) -> None:
        """Find the edges, and take down what the untrained model's label propagation says."""
        with torch.no_grad():
            self.links = model.links(tokens)
            self.anchor = self._taught(model.eval()(tokens, self.labels, self.links).spread)
        self.teacher = self.anchor

    def __call__(self, model: nn.Module, tokens: TokenSet) -> Float[Tensor, ""]:
        """Return the loss of one step."""
        device = tokens.x.device
        assert self.teacher is not None
        assert self.links is not None
        teacher, self.links = self.teacher.to(device), self.links.to(device)
        if self.few:
            out: NodeOutput = model(tokens, self.labels.to(device), self.links)
            asked = -(teacher * (out.spread + 1e-3).log()).sum(-1).mean()
        else:
            order = torch.randperm(len(self.known), generator=self.generator)
            hidden = self.known[order[: (len(order) + 1) // 2]]
            visible = self.labels.index_fill(0, hidden, 0.0).to(device)
            out = model(tokens, visible, self.links)
            asked = self._fit(out.outputs, hidden.to(device)) + self._fit(out.read, self.known.to(device))
        assert self.anchor is not None
        held = 1 / (1 + self.fewest)
        found = held * self.anchor.to(device) + (1 - held) * self._taught(out.spread.detach())
        self.teacher = KEPT * teacher + (1 - KEPT) * found
        return asked + F.cross_entropy(out.read, teacher) + out.encoded.loss

    def _taught(self, spread: Float[Tensor, "nodes classes"]) -> Float[Tensor, "nodes classes"]:
        """Return what is to be learned from what spread."""
        surer = spread**SURER
        labels = self.labels.to(spread)
        return torch.where(labels.any(-1, keepdim=True), labels, surer / surer.sum(-1, keepdim=True))

    def _fit(self, logits: Float[Tensor, "nodes classes"], nodes: Int[Tensor, " some"]) -> Float[Tensor, ""]:
        weight = None if self.class_weight is None else self.class_weight.to(logits)
        return classification_loss(logits[nodes], self.target.to(nodes.device)[nodes], None, weight)

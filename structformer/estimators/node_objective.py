"""What a node model learns from: known labels, some hidden in turn, and where they spread."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.models.node import NodeOutput
from structformer.tokens import TokenSet
from structformer.training.objectives import classification_loss

FEWEST_TO_HIDE = 5
"""Known labels of the rarest class from which on labels are hidden in turn."""


def one_hot(target: Int[Tensor, " nodes"], classes: int) -> Float[Tensor, "nodes classes"]:
    """Return one-hot rows, zero rows where the class is unknown (-1)."""
    return F.one_hot(target.clamp(min=0), classes).float() * (target >= 0)[:, None]


class NodeObjective:
    """The loss of a training step on one graph.

    With labels enough, a random half of the known labels is visible in each step and the classes of the other half are
    asked for; beside that, what the encoder reads by itself is to fit all known labels, and elsewhere where the visible
    ones spread.

    With few (some class has less than `FEWEST_TO_HIDE`), hiding them would leave nothing to spread, and fitting
    labels that are visible would teach the graph anything at all. All stay visible, and both parts of the model are
    to say what label propagation along the untrained graph says: training may smooth that, and not lose it.

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
        self.few = int(torch.bincount(target[self.known], minlength=classes).min()) < FEWEST_TO_HIDE
        self.generator = torch.Generator().manual_seed(seed)
        self.anchor: Tensor | None = None

    def prepare(self, model: nn.Module, tokens: TokenSet) -> None:
        """Take down what the untrained model's label propagation says."""
        if self.few:
            with torch.no_grad():
                spread = model.eval()(tokens, self.labels).spread
            self.anchor = torch.where(self.labels.any(-1, keepdim=True), self.labels, spread)

    def __call__(self, model: nn.Module, tokens: TokenSet) -> Float[Tensor, ""]:
        """Return the loss of one step."""
        device = tokens.x.device
        if self.anchor is not None:
            out: NodeOutput = model(tokens, self.labels.to(device))
            anchor = self.anchor.to(device)
            told = F.cross_entropy(out.read, anchor) - (anchor * (out.spread + 1e-3).log()).sum(-1).mean()
            return told + out.encoded.loss
        order = torch.randperm(len(self.known), generator=self.generator)
        hidden = self.known[order[: (len(order) + 1) // 2]]
        visible = self.labels.index_fill(0, hidden, 0.0).to(device)
        out = model(tokens, visible)
        teacher = torch.where(visible.any(-1, keepdim=True), visible, out.spread.detach())
        return (
            self._fit(out.outputs, hidden.to(device))
            + self._fit(out.read, self.known.to(device))
            + F.cross_entropy(out.read, teacher)
            + out.encoded.loss
        )

    def _fit(self, logits: Float[Tensor, "nodes classes"], nodes: Int[Tensor, " some"]) -> Float[Tensor, ""]:
        weight = None if self.class_weight is None else self.class_weight.to(logits)
        return classification_loss(logits[nodes], self.target.to(nodes.device)[nodes], None, weight)

"""Learning from so few labels that none can be spared."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.estimators.node_objective import NodeObjective, rarest
from structformer.models.node import NodeModel
from structformer.tokens import TokenSet

SURER = 2.0
"""Power to which what spreads is raised before it teaches."""

KEPT = 0.9
"""Share of the teacher that stays from step to step."""


class FewLabels(NodeObjective):
    """The loss of a training step where hiding labels would leave nothing to spread: all stay visible.

    All nodes are taught: what is read, and what spreads, are to fit a teacher, which is right where labels are known,
    and elsewhere is a moving mean of what spreads along the graph (self-training: labels first, then labels and
    readings), made surer. The fewer labels the rarest class has, n, the more it holds to what label propagation along
    the untrained graph says: 1 / (1 + n) of it is that. It is not brought to the shares that classes have among the
    known labels: those are often drawn evenly from classes that are not (Cora's public split).
    """

    # Nothing tells how far to trust what is read, or which edges: labels along the given ones have the word.
    trust, given_bonus = 8.0, 6.0

    anchor: Tensor | None = None
    teacher: Tensor | None = None

    def prepare(self, model: NodeModel, tokens: TokenSet) -> None:
        """Find the edges, and take down what the untrained model's label propagation says."""
        super().prepare(model, tokens)
        with torch.no_grad():
            self.anchor = self._taught(self.said(model.eval(), tokens, self.labels).spread)
        self.teacher = self.anchor

    def __call__(self, model: nn.Module, tokens: TokenSet) -> Float[Tensor, ""]:
        """Return the loss of one step."""
        device = tokens.x.device
        assert self.teacher is not None
        assert self.anchor is not None
        teacher = self.teacher.to(device)
        out = self.said(model, tokens, self.labels)
        held = 1 / (1 + rarest(self.target, self.labels.shape[1]))
        found = held * self.anchor.to(device) + (1 - held) * self._taught(out.spread.detach())
        self.teacher = KEPT * teacher + (1 - KEPT) * found
        arrives = -(teacher * (out.spread + 1e-3).log()).sum(-1).mean()
        return arrives + F.cross_entropy(out.read, teacher) + out.encoded.loss

    def _taught(self, spread: Float[Tensor, "nodes classes"]) -> Float[Tensor, "nodes classes"]:
        """Return what is to be learned from what spread."""
        surer = spread**SURER
        labels = self.labels.to(spread)
        return torch.where(labels.any(-1, keepdim=True), labels, surer / surer.sum(-1, keepdim=True))

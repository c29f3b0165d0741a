"""The layer of a ReSSFormer: structure, attention, experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.asam import ASAM, ASAMConfig
from structformer.nn.dropout import Dropout
from structformer.nn.edge_features import EdgeFeatures
from structformer.nn.feedforward import FeedForward
from structformer.nn.moe import ExpertsOutput, MixtureOfExperts, MixtureOfExpertsConfig
from structformer.nn.set_dropout import SetDropout
from structformer.nn.soes import SOES

if TYPE_CHECKING:
    from structformer.models.ressformer import ReSSFormerConfig


class ReSSFormerBlock(nn.Module):
    """h ← h + ASAM(h, SOES(h)); h ← h + Experts(h), pre-norm (ReSSFormer, arXiv 2510.01585; mathematics.md, 2 to 4)."""

    def __init__(self, config: ReSSFormerConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.norm_attention = nn.LayerNorm(width)
        self.structure = SOES(config.structure())
        self.attention = ASAM(
            ASAMConfig(
                width=width,
                heads=config.heads,
                normalizer=config.normalizer,
                dropout=dropout,
                edge_features=config.edge_features,
                top=config.top,
                structure_gate=config.structure_gate,
            )
        )
        self.norm_experts = nn.LayerNorm(width)
        self.experts: MixtureOfExperts | FeedForward
        if config.experts > 1:
            experts = MixtureOfExpertsConfig(
                width, config.experts, config.active, config.expansion, dropout=dropout
            )
            self.experts = MixtureOfExperts(experts)
        else:
            self.experts = FeedForward(width, config.expansion, dropout)
        self.dropout = Dropout(dropout)

    def attend(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
        given: TokenGraph | None,
        topology: TokenGraph | None,
        edges: EdgeFeatures | None,
        causal: bool,
        drop: SetDropout | None = None,
    ) -> tuple[Float[Tensor, "tokens width"], TokenGraph]:
        """Return the states after attention, and the graph along which they listened."""
        x = self.norm_attention(h)
        graph = self.structure(x, ptr, given=given, topology=topology, causal=causal)
        features = None if edges is None else edges.along(graph)
        heard = self.dropout(self.attention(x, graph, edge_features=features))
        return h + (heard if drop is None else drop(heard, "attention")), graph

    def think(
        self, h: Float[Tensor, "tokens width"], drop: SetDropout | None = None
    ) -> tuple[Float[Tensor, "tokens width"], ExpertsOutput | None]:
        """Return the states after the experts, and what these did; None where there is one network alone."""
        return self.asked(h, self.norm_experts(h), drop)

    def asked(
        self,
        h: Float[Tensor, "tokens width"],
        x: Float[Tensor, "tokens width"],
        drop: SetDropout | None = None,
    ) -> tuple[Float[Tensor, "tokens width"], ExpertsOutput | None]:
        """Return the same, the experts being asked about x."""
        if isinstance(self.experts, FeedForward):
            change, found = self.experts(x, drop), None
        else:
            found = self.experts(x)
            change = found.tokens
        change = self.dropout(change)
        return h + (change if drop is None else drop(change, "experts")), found

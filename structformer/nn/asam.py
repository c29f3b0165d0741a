"""ASAM, the adaptive sparse attention module: attention along a learned graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.ops import Normalizer, edge_sum, sparse_attention


@dataclass(frozen=True)
class ASAMConfig:
    """What an attention layer is made of.

    Attributes:
        width: Features of a token, D.
        heads: Attention heads H; must divide ``width``.
        normalizer: The activation sparsity ρ: "softmax", "sparsemax", "entmax15" or an α > 1.
        dropout: Probability of dropping an attention weight.
        edge_features: Features of an edge of the data's own graph, carried inside the messages.
    """

    width: int = 64
    heads: int = 4
    normalizer: Normalizer = "softmax"
    dropout: float = 0.0
    edge_features: int = 0

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"heads must divide width (got heads={self.heads}, width={self.width})")


class ASAM(nn.Module):
    """Attention over the edges of a learned graph (ReSSFormer, arXiv 2510.01585; DESIGN 2.3).

    Head h scores an edge j → i by e_ij = ⟨q_i, k_j⟩/√C + λ_h log(Â_ij + ε), so that the learned structure
    steers attention as strongly as the head's gate λ_h lets it; a_ij = ρ(e_i·) over the token's edges and
    out_i = Σ_j a_ij v_j. Edge attributes f_ij, where the data has them, add β_h·f_ij to the score and
    a linear map of Σ_j a_ij f_ij to the output.
    """

    EPSILON = 1e-6

    def __init__(self, config: ASAMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # a shift of all keys would not change any weight
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.structure_gate = nn.Parameter(torch.ones(config.heads))
        if config.edge_features:
            self.edge_score = nn.Linear(config.edge_features, config.heads, bias=False)
            self.edge_value = nn.Linear(config.edge_features * config.heads, width, bias=False)

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        graph: TokenGraph,
        *,
        source: Float[Tensor, "sources width"] | None = None,
        message: Float[Tensor, "sources width"] | None = None,
        edge_features: Float[Tensor, "edges features"] | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Return what each token hears; a token without edges hears the output bias alone.

        Args:
            h: States of the tokens that listen.
            graph: The edges, with weights Â, for all heads or one a head.
            source: States by which the tokens listened to are recognised (keys); None is ``h``.
            message: States that they say (values); None is ``source``.
            edge_features: One row an edge of ``graph``, zero where the data has no such edge.

        Raises:
            ValueError: ``edge_features`` are not as wide as the configuration says, or as in
                :func:`structformer.ops.sparse_attention`.
        """
        if edge_features is not None and edge_features.shape[1] != self.config.edge_features:
            raise ValueError(
                f"edge_features must have {self.config.edge_features} features (got {edge_features.shape[1]})"
            )
        source = h if source is None else source
        message = source if message is None else message
        bias = None
        if graph.weight is not None:
            bias = (graph.weight + self.EPSILON).log()
            bias = (bias[:, None] if bias.ndim == 1 else bias) * self.structure_gate
        if edge_features is not None:
            edge_bias = self.edge_score(edge_features)
            bias = edge_bias if bias is None else bias + edge_bias
        query, key, value = self.query(h), self.key(source), self.value(message)
        listen = partial(
            sparse_attention,
            self._heads(query),
            self._heads(key),
            self._heads(value),
            graph,
            bias=bias,
            normalizer=self.config.normalizer,
            dropout=self.config.dropout if self.training else 0.0,
        )
        if edge_features is None:
            return self.output(listen().flatten(1))
        out, weights = listen(return_weights=True)
        return self.output(out.flatten(1)) + self.edge_value(self._carried(weights, edge_features, graph))

    def _heads(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n heads channels"]:
        return x.unflatten(-1, (self.config.heads, -1))

    def _carried(
        self,
        weights: Float[Tensor, "edges heads"],
        features: Float[Tensor, "edges features"],
        graph: TokenGraph,
    ) -> Float[Tensor, "tokens heads*features"]:
        # Σ_j a_ij f_ij head by head; the map to the token's width comes after the sum, so that an
        # edge holds only its own few features. The edges themselves are the "sources" here.
        edges = TokenGraph(
            rowptr=graph.rowptr,
            col=torch.arange(graph.num_edges, device=features.device),
            num_sources=graph.num_edges,
        )
        value = features[:, None].expand(-1, self.config.heads, -1)
        return edge_sum(weights, value, edges).flatten(1)

"""ASAM, the adaptive sparse attention module: attention along a learned graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.linear import Linear, together
from structformer.ops import Normalizer, edge_dot, edge_sum, sparse_attention
from structformer.ops.entmax import alpha_of
from structformer.ops.topk import segment_top


@dataclass(frozen=True)
class ASAMConfig:
    """What an attention layer is made of.

    Attributes:
        width: Features of a token, D.
        heads: Attention heads H; must divide ``width``.
        normalizer: The activation sparsity ρ: "softmax", "sparsemax", "entmax15", an α > 1, or "learned", an α
            a head that starts at 1.5.
        dropout: Probability of dropping an attention weight.
        edge_features: Features of an edge of the data's own graph, carried inside the messages.
        structure_gate: False leaves the graph's weights out of the scores, and so without a gradient; its edges
            are attended along all the same.
        top: Of a token's edges each head keeps so many, those with the largest scores; None keeps all. Edges that
            tie with the last one kept are kept too, so that no order of the tokens decides.
    """

    width: int = 64
    heads: int = 4
    normalizer: Normalizer = "softmax"
    dropout: float = 0.0
    edge_features: int = 0
    structure_gate: bool = True
    top: int | None = None

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"heads must divide width (got heads={self.heads}, width={self.width})")
        if self.top is not None and self.top < 1:
            raise ValueError(f"top must be at least 1, or None to keep all edges (got {self.top})")
        if not self.learns_alpha:
            alpha_of(self.normalizer)

    @property
    def learns_alpha(self) -> bool:
        """Whether the activation sparsity is learned."""
        return isinstance(self.normalizer, str) and self.normalizer == "learned"


class ASAM(nn.Module):
    """Attention over the edges of a learned graph (ReSSFormer, arXiv 2510.01585; mathematics.md, 3).

    Head h scores an edge j → i by e_ij = ⟨q_i, k_j⟩/√C + λ_h log(Â_ij + ε), so that the learned structure
    steers attention as strongly as the head's gate λ_h lets it; a_ij = ρ_h(e_i·) over the token's edges and
    out_i = Σ_j a_ij v_j. Edge attributes f_ij, where the data has them, add β_h·f_ij to the score and
    a linear map of Σ_j a_ij f_ij to the output.

    Attention can be sparse in two ways here, each switched on by itself: ρ may give weights of exactly zero, with
    the α of α-entmax fixed or learned head by head (Correia et al. 2019, arXiv 1909.00015), and ``top`` cuts
    all but a head's largest scores (−∞ before ρ). The structure's gate can be switched off.
    """

    EPSILON = 1e-6
    # A learned α goes no nearer to softmax, whose 1 it could not leave: in single precision its gradient is good to
    # four digits here, to two at 1.005 and to none at 1.0001.
    LEAST_ALPHA = 1.02

    def __init__(self, config: ASAMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.query = Linear(width, width)
        self.key = Linear(width, width, bias=False)  # a shift of all keys would not change any weight
        self.value = Linear(width, width)
        self.output = Linear(width, width)
        self.structure_gate = nn.Parameter(torch.ones(config.heads)) if config.structure_gate else None
        self.alpha_logit = None
        if config.learns_alpha:
            share = (1.5 - self.LEAST_ALPHA) / (2 - self.LEAST_ALPHA)
            self.alpha_logit = nn.Parameter(torch.full((config.heads,), math.log(share / (1 - share))))
        if config.edge_features:
            self.edge_score = Linear(config.edge_features, config.heads, bias=False)
            self.edge_value = Linear(config.edge_features * config.heads, width, bias=False)

    @property
    def alpha(self) -> Float[Tensor, "heads"]:
        """The α of each head's α-entmax; 1 is softmax, 2 sparsemax, and what is learned lies between the two."""
        if self.alpha_logit is not None:
            return self.LEAST_ALPHA + (2 - self.LEAST_ALPHA) * self.alpha_logit.sigmoid()
        like = self.query.weight
        fixed = torch.as_tensor(alpha_of(self.config.normalizer), dtype=like.dtype, device=like.device)
        return fixed.expand(self.config.heads)

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
        if source is None and message is None:
            query, key, value = map(self._heads, together(h, self.query, self.key, self.value))
        else:
            source = h if source is None else source
            message = source if message is None else message
            parts = self.query(h), self.key(source), self.value(message)
            query, key, value = map(self._heads, parts)
        bias = self._bias(graph, edge_features)
        if self.config.top is not None:
            bias = self._cut(query, key, graph, bias, self.config.top)
        listen = partial(
            sparse_attention,
            query,
            key,
            value,
            graph,
            bias=bias,
            normalizer=self.alpha if self.config.learns_alpha else self.config.normalizer,
            dropout=self.config.dropout if self.training else 0.0,
        )
        if edge_features is None:
            return self.output(listen().flatten(1))
        out, weights = listen(return_weights=True)
        return self.output(out.flatten(1)) + self.edge_value(self._carried(weights, edge_features, graph))

    def _bias(
        self, graph: TokenGraph, edge_features: Float[Tensor, "edges features"] | None
    ) -> Float[Tensor, "edges heads"] | None:
        """Return what the structure and the edges' attributes add to the scores; None is nothing."""
        bias = None
        if graph.weight is not None and self.structure_gate is not None:
            bias = (graph.weight + self.EPSILON).log()
            bias = (bias[:, None] if bias.ndim == 1 else bias) * self.structure_gate
        if edge_features is not None:
            edge_bias = self.edge_score(edge_features)
            bias = edge_bias if bias is None else bias + edge_bias
        return bias

    def _cut(
        self,
        query: Float[Tensor, "tokens heads channels"],
        key: Float[Tensor, "sources heads channels"],
        graph: TokenGraph,
        bias: Float[Tensor, "edges heads"] | None,
        top: int,
    ) -> Float[Tensor, "edges heads"]:
        """Return the bias with −∞ on the edges that are not among the head's ``top`` of their token."""
        with torch.no_grad():
            # Rounded to half precision, scores that differ would tie at the cut.
            wide = torch.promote_types(query.dtype, torch.float32)
            scores = edge_dot(query.to(wide), key.to(wide), graph) / math.sqrt(query.shape[-1])
            kept = segment_top(scores if bias is None else scores + bias, graph.rowptr, top)
        bias = query.new_zeros(kept.shape) if bias is None else bias
        return bias.masked_fill(~kept, float("-inf"))

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

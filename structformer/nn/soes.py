"""SOES, the self-organizing encoder structure: a sparse graph learned from content alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.nn.edge_features import EdgeFeatures
from structformer.nn.linear import Linear
from structformer.ops import Normalizer, edge_dot, edge_weights, neighbors


@dataclass(frozen=True)
class SOESConfig:
    """What a SOES layer is made of.

    Attributes:
        width: Features of a token, D.
        neighbors: Tokens that a token may listen to besides itself, k.
        affinity: Dimensions of the space in which tokens are compared, G.
        normalizer: How affinities become weights: "softmax", "sparsemax", "entmax15" or an α > 1.
        sharpness: Initial e^τ, the factor on the cosine affinities.
        given_bonus: Initial γ, added to the affinity of an edge that the data itself has.
        learn: False keeps the data's own edges (and self-loops) and learns their weights only.
        search: How neighbours are found; see :func:`structformer.ops.neighbors`.
        local: Measure affinities from each token's least one, in units of their range among its edges, so that their
            weights differ as much where all neighbours are near as where all are far (local scaling: Zelnik-Manor and
            Perona 2004).
    """

    width: int = 64
    neighbors: int = 16
    affinity: int = 16
    normalizer: Normalizer = "softmax"
    sharpness: float = 4.0
    given_bonus: float = 1.0
    learn: bool = True
    search: str = "auto"
    local: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "neighbors", "affinity"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.sharpness <= 0:
            raise ValueError(f"sharpness must be positive (got {self.sharpness})")


class SOES(nn.Module):
    """Learn one sparse graph over the tokens of each set (ReSSFormer, arXiv 2510.01585; mathematics.md, 2).

    With u_i = norm(W_u h_i) and w_j = norm(W_w h_j) in R^G, an edge j → i has the affinity

        s_ij = e^τ ⟨u_i, w_j⟩ + γ·[j → i is given] + log p_ij,

    where p_ij is 1 unless the data's own edges have weights, what is thought of them before the states are seen;
    token i listens to N(i) = {i} ∪ top-k_j s_ij ∪ given(i) within its own set, and the weights
    Â_ij = ρ_{j ∈ N(i)}(s_ij) sum to one over N(i). The choice of N is hard; the weights carry the gradient.
    Nothing here knows where a token stands: permuting the tokens permutes the graph.
    """

    def __init__(self, config: SOESConfig) -> None:
        super().__init__()
        self.config = config
        self.query = Linear(config.width, config.affinity, bias=False)
        self.key = Linear(config.width, config.affinity, bias=False)
        # Starting from the same map, tokens listen to tokens like themselves: a kNN graph of the
        # states is a better first guess than the graph of two unrelated random projections.
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(config.sharpness)))
        self.given_bonus = nn.Parameter(torch.tensor(float(config.given_bonus)))

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        source: Float[Tensor, "sources width"] | None = None,
        speaker: Float[Tensor, "tokens width"] | None = None,
        source_ptr: Int[Tensor, "pointers"] | None = None,
        given: TokenGraph | None = None,
        topology: TokenGraph | None = None,
        exclude_self: bool = False,
        causal: bool = False,
    ) -> TokenGraph:
        """Return the learned graph, its weights Â [edges] summing to one over each token's edges.

        Args:
            h: States of the tokens that listen.
            ptr: Boundaries of the sets; None is one set.
            source: States of the tokens listened to; None is ``h`` itself.
            speaker: Other states of the same tokens, by which they are chosen; None is ``h``.
            source_ptr: Boundaries of the sets of ``source``, as many sets as ``ptr`` has.
            given: The data's own edges, always kept; weights that they have are p.
            topology: Edges to weigh, with nothing searched (a graph known from an earlier step); weights that they
                have already are p.
            exclude_self: Leave out the token itself (rows that carry their labels must not see their own).
                A ``source`` then holds other states of the same tokens.
            causal: Let a token listen only to itself and to earlier tokens of its set.

        Raises:
            ValueError: If ``source`` and ``speaker`` are both given, or as in :func:`structformer.ops.neighbors`.
        """
        if source is not None and speaker is not None:
            raise ValueError("source and speaker were both given; speaker is for the tokens of h themselves")
        spoken = next(x for x in (source, speaker, h) if x is not None)
        u, w = self.listening(h), self.speaking(spoken)
        graph = topology
        known = None
        if topology is not None and topology.weight is not None:
            known = topology.weight.clamp(min=1e-12).log()
        if graph is None:
            graph = neighbors(
                u.detach(),
                w.detach(),
                self.config.neighbors if self.config.learn else 0,
                ptr,
                key_ptr=source_ptr,
                include_self=source is None and not exclude_self,
                exclude_self=exclude_self,
                causal=causal,
                given=given,
                method=self.config.search,
            )
        if given is not None and given.weight is not None:
            edge_index, _ = given.to_edge_index()
            logs = EdgeFeatures(edge_index, given.weight.log()[:, None], graph.num_sources)
            known = logs.along(graph).squeeze(1)  # 0 is log p where nothing is thought of an edge
        return self.weigh(u, w, graph, known)

    def listening(self, h: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens affinity"]:
        """Return u_i, by which a token chooses whom it listens to."""
        return F.normalize(self.query(h), dim=-1)

    def speaking(self, h: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens affinity"]:
        """Return w_j, by which a token is chosen."""
        return F.normalize(self.key(h), dim=-1)

    def weigh(
        self,
        u: Float[Tensor, "targets affinity"],
        w: Float[Tensor, "sources affinity"],
        graph: TokenGraph,
        known: Float[Tensor, "edges"] | None = None,
    ) -> TokenGraph:
        """Return the graph with the weights Â of its edges; ``known`` is log p, what is thought of them before."""
        bonus = None if graph.given is None else self.given_bonus * graph.given.to(u.dtype)
        if known is not None:
            known = known.to(u.dtype)
            bonus = known if bonus is None else bonus + known
        sharp = self.log_sharpness.exp() * u
        if self.config.local:
            sharp = sharp / _range(u, w, graph)[:, None]
        sharp = sharp[:, None]
        weight = edge_weights(sharp, w[:, None], graph, bonus, self.config.normalizer, scale=1.0)
        return graph.with_weight(weight.squeeze(1))

    def extra_repr(self) -> str:
        """Show the configuration where the module is printed."""
        return ", ".join(f"{key}={value}" for key, value in vars(self.config).items())


@torch.no_grad()
def _range(
    u: Float[Tensor, "targets affinity"], w: Float[Tensor, "sources affinity"], graph: TokenGraph
) -> Float[Tensor, "targets"]:
    """Return how far the affinities of each token's edges lie apart; never quite 0, as of one edge it would be."""
    affinity = edge_dot(u[:, None], w[:, None], graph).squeeze(1)
    zero = affinity.new_zeros(graph.num_targets)
    most, least = (
        zero.scatter_reduce(0, graph.row, affinity, of, include_self=False) for of in ("amax", "amin")
    )
    return (most - least).clamp(min=1e-3)

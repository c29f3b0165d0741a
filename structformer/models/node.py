"""The node model: one output a token, with features and known labels travelling along the learned graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.models.choice import build_encoder
from structformer.models.encoder import Encoded, SOESEncoderConfig
from structformer.models.pooled import TokenInput, content_links, encode_states, prefer_given
from structformer.nn.content_space import ContentSpace
from structformer.nn.dropout import Dropout
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.nn.sparse_features import sparse_features
from structformer.ops import graph_filter
from structformer.tokens import TokenSet


@dataclass
class NodeOutput:
    """What a node model returns.

    Attributes:
        outputs: Class scores.
        read: Their part that is read from features, the token's own and those that travelled to it.
        spread: The class distribution that labels and readings bring; uniform where nothing arrives.
        encoded: The encoded tokens.
    """

    outputs: Float[Tensor, "tokens classes"]
    read: Float[Tensor, "tokens classes"]
    spread: Float[Tensor, "tokens classes"]
    encoded: Encoded


class NodeModel(nn.Module):
    """Embed tokens, encode them along given edges and along those that their content suggests, read out each token.

    Edges are found once, by content (`ContentSpace`); every step weighs them anew. A token is read from what the
    encoder makes of it, h, and from the features that reach it along the learned weights Â, averaged over 0 to R steps
    before anything but a linear map E has been made of them:

        r = W h + V ReLU(1/(R+1) Σ_t Â^t E(x)).

    The second reading has few ways to fit a label for the wrong reason. In training it misses random tokens altogether,
    so that it must not rely on any of them (random propagation: Feng et al. 2020, arXiv 2005.11079). The class scores
    are the sum of what is read, and of what labels and readings say when they spread along Â (after Zhou et al. 2004;
    personalised PageRank of predictions: Gasteiger et al. 2019):

        logits = r + e^κ log(F + ε),   F ← α Â F + (1 − α) Z, rows normalised,

    where Z is one-hot on the labelled tokens, and elsewhere what is read, as loud as it is sure:
    Z = (1 − H(p) / log C) p with p = softmax(r). Where nothing arrives F is uniform and says nothing.

    Args:
        tokens: What raw tokens look like.
        classes: Number of classes.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
        spread: α, how far labels travel.
        rounds: Times that labels are passed on.
        reach: R, how far features travel.
        given_bonus: Initial γ, by which the data's own edges stand out from learned ones.
        trust: Initial e^κ, the weight of what spreads beside what is read.
        counted: Whether features count something, such as words; see `ContentSpace`.
    """

    def __init__(
        self,
        tokens: TokenInput,
        classes: int,
        config: SOESEncoderConfig,
        spread: float = 0.9,
        rounds: int = 20,
        reach: int = 8,
        given_bonus: float = 2.0,
        trust: float = 3.0,
        counted: bool = False,
    ) -> None:
        super().__init__()
        self.space = ContentSpace(tokens.features, counted)
        self.embedding = FeatureEmbedding(
            tokens.features, config.width, tokens.bins, tokens.token_types, dropout=config.dropout
        )
        self.encoder = build_encoder(config)
        self.dropout = Dropout(config.dropout)
        self.head = Linear(config.width, classes)
        self.travelling = FeatureEmbedding(tokens.features, config.width, tokens.bins, tokens.token_types)
        self.travelled = Linear(config.width, classes, bias=False)
        # Nothing is known about the features at first; labels along the graph already are a good guess.
        for zero in (self.head.weight, self.head.bias, self.travelled.weight):
            nn.init.zeros_(zero)
        self.log_trust = nn.Parameter(torch.tensor(math.log(trust)))
        # Labels spread along the data's own edges and along likeness; what is learned, about which little is known
        # yet, must not outweigh them. Training may change that.
        prefer_given(self.encoder, given_bonus, sharpness=0.5)
        self.spread, self.rounds, self.reach = spread, rounds, reach

    def links(self, tokens: TokenSet) -> TokenGraph:
        """Return the edges along which tokens may listen, with what is thought of them before anything is learned."""
        return content_links(self.space, tokens, self.encoder.config)

    def features(self, tokens: TokenSet) -> TokenGraph | None:
        """Return the tokens' features without their zeros, or None where that would not be faster."""
        return sparse_features(self.space.readable(tokens.x))

    def forward(
        self,
        tokens: TokenSet,
        labels: Float[Tensor, "tokens classes"] | None = None,
        links: TokenGraph | None = None,
        features: TokenGraph | None = None,
    ) -> NodeOutput:
        """Return class scores of each token.

        Args:
            tokens: The tokens, with their own edges.
            labels: One-hot where known, zero rows elsewhere; None knows none.
            links: What `links` returns, where it was asked for before.
            features: What `features` returns, likewise.
        """
        links = self.links(tokens) if links is None else links
        features = self.features(tokens) if features is None else features
        x, kind = self.space.readable(tokens.x), tokens.get("token_type")
        h = self.embedding(x, kind, features)
        encoded = encode_states(h, self.encoder, tokens, links)
        travelled = self._travelled(self.travelling(x, kind, features), encoded.graphs[-1])
        read = self.head(self.dropout(encoded.tokens)) + travelled
        if labels is None:
            labels = torch.zeros_like(read)
        said = torch.where(labels.any(-1, keepdim=True), labels, sure(read))
        spread = propagate(encoded.graphs[-1], said, self.spread, self.rounds)
        return NodeOutput(read + self.log_trust.exp() * (spread + 1e-3).log(), read, spread, encoded)

    def _travelled(
        self, h: Float[Tensor, "tokens width"], graph: TokenGraph
    ) -> Float[Tensor, "tokens classes"]:
        """Return what is read from the features that reach each token."""
        h = h * self.dropout(h.new_ones(len(h), 1))  # whole tokens are missed
        return self.travelled(self.dropout(F.relu(reached(graph, h, self.reach))))


def sure(read: Float[Tensor, "tokens classes"]) -> Float[Tensor, "tokens classes"]:
    """Return class distributions that add up to how sure they are: 1 for a single class, 0 for all alike."""
    log = read.log_softmax(-1)
    share = log.exp()
    return (1 + (share * log).sum(-1, keepdim=True) / math.log(read.shape[1])) * share


def reached(
    graph: TokenGraph, h: Float[Tensor, "tokens features"], reach: int
) -> Float[Tensor, "tokens features"]:
    """Return 1/(R+1) Σ_t Â^t h, the mean of what 0 to R steps along the graph bring."""
    assert graph.weight is not None
    return graph_filter(graph.weight, h, graph, [1 / (reach + 1)] * (reach + 1))


def propagate(
    graph: TokenGraph, labels: Float[Tensor, "tokens classes"], spread: float, rounds: int
) -> Float[Tensor, "tokens classes"]:
    """Return each token's class distribution after labels spread; uniform where none arrives."""
    assert graph.weight is not None
    steps = [(1 - spread) * spread**step for step in range(rounds)]
    state = graph_filter(graph.weight, labels, graph, [*steps, spread**rounds])
    total = state.sum(-1, keepdim=True)
    arrived: Bool[Tensor, "tokens 1"] = total > 1e-9
    return torch.where(arrived, state / total.clamp(min=1e-9), 1 / labels.shape[1])

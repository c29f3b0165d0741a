"""The node model: one output a token, with known labels travelling along the learned graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.choice import build_encoder
from structformer.models.encoder import Encoded, SOESEncoderConfig
from structformer.models.pooled import TokenInput, encode, prefer_given
from structformer.nn.content_space import ContentSpace
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.ops import edge_sum
from structformer.tokens import TokenSet


@dataclass
class NodeOutput:
    """What a node model returns.

    Attributes:
        outputs: Class scores.
        read: Their part that the encoder reads.
        spread: The class distribution that labels and readings bring; uniform where nothing arrives.
        encoded: The encoded tokens.
    """

    outputs: Float[Tensor, "tokens classes"]
    read: Float[Tensor, "tokens classes"]
    spread: Float[Tensor, "tokens classes"]
    encoded: Encoded


class NodeModel(nn.Module):
    """Embed tokens, encode them along given edges and along those that their content suggests, read out each token.

    Edges are found once, by content (`ContentSpace`); every step weighs them anew. The class scores are the sum of what
    the encoder reads, and of what labels and readings say when they spread along the learned weights Â (after Zhou et
    al. 2004; personalised PageRank of predictions: Gasteiger et al. 2019):

        logits = r + e^κ log(F + ε),   r = head(h),   F ← α Â F + (1 − α) Z, rows normalised,

    where Z is one-hot on the labelled tokens, and elsewhere what is read, as loud as it is sure:
    Z = (1 − H(p) / log C) p with p = softmax(r). Where nothing arrives F is uniform and says nothing.

    Args:
        tokens: What raw tokens look like.
        classes: Number of classes.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
        spread: α, how far labels travel.
        rounds: Times that labels are passed on.
        given_bonus: Initial γ, by which the data's own edges stand out from learned ones.
        trust: Initial e^κ, the weight of what spreads beside what is read.
        dimensions: Of the space in which content is compared; see `ContentSpace`.
    """

    def __init__(
        self,
        tokens: TokenInput,
        classes: int,
        config: SOESEncoderConfig,
        spread: float = 0.9,
        rounds: int = 20,
        given_bonus: float = 6.0,
        trust: float = 3.0,
        dimensions: int = 0,
    ) -> None:
        super().__init__()
        self.space = ContentSpace(tokens.features, dimensions)
        self.embedding = FeatureEmbedding(
            tokens.features, config.width, tokens.bins, tokens.token_types, dropout=config.dropout
        )
        self.encoder = build_encoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = Linear(config.width, classes)
        # Nothing is known about the features at first; labels along the graph already are a good guess.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_trust = nn.Parameter(torch.tensor(math.log(trust)))
        # Labels spread along the data's own edges and along likeness; what is learned, about which little is known
        # yet, must not outweigh them. Training may change that.
        prefer_given(self.encoder, given_bonus, sharpness=0.5)
        self.spread, self.rounds = spread, rounds

    def links(self, tokens: TokenSet) -> TokenGraph:
        """Return the edges along which tokens may listen, with what is thought of them before anything is learned."""
        config, given = self.encoder.config, None
        if tokens.edge_index is not None:
            given = TokenGraph.from_edge_index(tokens.edge_index, len(tokens.x), ptr=tokens.ptr)
        k = config.neighbors if config.learn else 0
        return self.space.graph(tokens.x, k, tokens.ptr, given, config.search)

    def forward(
        self,
        tokens: TokenSet,
        labels: Float[Tensor, "tokens classes"] | None = None,
        links: TokenGraph | None = None,
    ) -> NodeOutput:
        """Return class scores of each token.

        Args:
            tokens: The tokens, with their own edges.
            labels: One-hot where known, zero rows elsewhere; None knows none.
            links: What `links` returns, where it was asked for before.
        """
        links = self.links(tokens) if links is None else links
        encoded = encode(self.embedding, self.encoder, tokens, links)
        read = self.head(self.dropout(encoded.tokens))
        if labels is None:
            labels = torch.zeros_like(read)
        said = torch.where(labels.any(-1, keepdim=True), labels, sure(read))
        spread = propagate(encoded.graphs[-1], said, self.spread, self.rounds)
        return NodeOutput(read + self.log_trust.exp() * (spread + 1e-3).log(), read, spread, encoded)


def sure(read: Float[Tensor, "tokens classes"]) -> Float[Tensor, "tokens classes"]:
    """Return class distributions that add up to how sure they are: 1 for a single class, 0 for all alike."""
    log = read.log_softmax(-1)
    share = log.exp()
    return (1 + (share * log).sum(-1, keepdim=True) / math.log(read.shape[1])) * share


def propagate(
    graph: TokenGraph, labels: Float[Tensor, "tokens classes"], spread: float, rounds: int
) -> Float[Tensor, "tokens classes"]:
    """Return each token's class distribution after labels spread; uniform where none arrives."""
    assert graph.weight is not None
    weight, state = graph.weight[:, None], labels
    for _ in range(rounds):
        state = spread * edge_sum(weight, state[:, None], graph).squeeze(1) + (1 - spread) * labels
    total = state.sum(-1, keepdim=True)
    arrived: Bool[Tensor, "tokens 1"] = total > 1e-9
    return torch.where(arrived, state / total.clamp(min=1e-9), 1 / labels.shape[1])

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
        spread: The class distribution that known labels bring; uniform where none arrives.
        encoded: The encoded tokens.
    """

    outputs: Float[Tensor, "tokens classes"]
    read: Float[Tensor, "tokens classes"]
    spread: Float[Tensor, "tokens classes"]
    encoded: Encoded


class NodeModel(nn.Module):
    """Embed tokens, encode them along given and learned edges, read out each token.

    The class scores are the sum of what the encoder reads from features and of what the known labels say when
    they spread along the graph (label propagation: Zhou et al. 2004, with the graph's weights Â):

        logits = head(h) + e^κ log(F + ε),   F ← α Â F + (1 − α) Y, rows normalised,

    where Y is one-hot on the labelled tokens. Where no label arrives F is uniform and says nothing.

    Args:
        tokens: What raw tokens look like.
        classes: Number of classes.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
        spread: α, how far labels travel.
        rounds: Times that labels are passed on.
        given_bonus: Initial γ, by which the data's own edges stand out from learned ones.
        trust: Initial e^κ, the weight of what labels say beside what is read.
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
    ) -> None:
        super().__init__()
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
        # Labels spread along the data's own edges; learned ones, about which little is known yet, must not
        # outweigh them. Training may change that.
        prefer_given(self.encoder, given_bonus, sharpness=1.0)
        self.spread, self.rounds = spread, rounds

    def forward(self, tokens: TokenSet, labels: Float[Tensor, "tokens classes"] | None = None) -> NodeOutput:
        """Return class scores of each token; ``labels`` is one-hot where known, zero rows elsewhere."""
        encoded = encode(self.embedding, self.encoder, tokens)
        read = self.head(self.dropout(encoded.tokens))
        if labels is None:
            labels = torch.zeros_like(read)
        spread = propagate(encoded.graphs[-1], labels, self.spread, self.rounds)
        return NodeOutput(read + self.log_trust.exp() * (spread + 1e-3).log(), read, spread, encoded)


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

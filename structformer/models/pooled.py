"""The set model: one output a set or a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.choice import Encoder, build_encoder
from structformer.models.encoder import Encoded, SOESBlock, SOESEncoderConfig
from structformer.models.ressformer_block import ReSSFormerBlock
from structformer.nn.content_space import ContentSpace
from structformer.nn.dropout import Dropout
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.nn.readout import SetPooling
from structformer.tokens import TokenSet


@dataclass(frozen=True)
class TokenInput:
    """What raw tokens look like, so that a model can be built again without the data.

    Attributes:
        features: Features of a token, F.
        bins: For each feature its bin edges, or None for features without a piecewise-linear embedding.
        token_types: Kinds of tokens.
        edge_features: Features of an edge; 0 for edges without attributes.
    """

    features: int
    bins: Sequence[Sequence[float]] | None = None
    token_types: int = 1
    edge_features: int = 0


@dataclass
class PooledOutput:
    """What a set model returns: outputs and vectors of the sets, and the encoded tokens."""

    outputs: Float[Tensor, "sets outputs"]
    sets: Float[Tensor, "sets width"]
    encoded: Encoded


class PooledModel(nn.Module):
    """Embed tokens, encode each set along its learned graph, pool, read out.

    Attention and pooling average, so that nothing in them tells a set from the same set twice: the pooled vector
    is given the logarithm of the set's size.

    Args:
        tokens: What raw tokens look like.
        outputs: Numbers to read out for a set.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
    """

    def __init__(self, tokens: TokenInput, outputs: int, config: SOESEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.embedding = FeatureEmbedding(tokens.features, width, tokens.bins, tokens.token_types)
        self.encoder = build_encoder(config)
        prefer_given(self.encoder, bonus=4.0)
        self.pooling = SetPooling(width, config.heads)
        self.size = Linear(1, width)
        self.head = nn.Sequential(nn.LayerNorm(width), Dropout(config.dropout), Linear(width, outputs))

    def forward(self, tokens: TokenSet) -> PooledOutput:
        """Return one row of outputs a set."""
        encoded = encode(self.embedding, self.encoder, tokens)
        pooled = self.pooling(encoded.tokens, tokens.ptr)
        pooled = pooled + self.size(tokens.sizes[:, None].to(pooled.dtype).log1p())
        return PooledOutput(self.head(pooled), pooled, encoded)


def prefer_given(encoder: Encoder, bonus: float, sharpness: float | None = None) -> None:
    """Let the data's own edges outweigh learned ones until training knows better.

    Args:
        encoder: The encoder to start so.
        bonus: The first γ.
        sharpness: The first e^τ; a small one lets an edge between unlike tokens count too. None leaves it.
    """
    for block in encoder.blocks:
        assert isinstance(block, SOESBlock | ReSSFormerBlock)
        nn.init.constant_(block.structure.given_bonus, bonus)
        if sharpness is not None:
            nn.init.constant_(block.structure.log_sharpness, math.log(sharpness))


def encode(
    embedding: FeatureEmbedding, encoder: Encoder, tokens: TokenSet, links: TokenGraph | None = None
) -> Encoded:
    """Embed and encode the tokens of a packed batch along its own edges and the learned ones, or along links alone."""
    return encode_states(embedding(tokens.x, tokens.get("token_type")), encoder, tokens, links)


def encode_states(
    h: Float[Tensor, "tokens width"], encoder: Encoder, tokens: TokenSet, links: TokenGraph | None = None
) -> Encoded:
    """Encode embedded tokens as `encode` does."""
    edge_attr = edge_attributes(tokens, encoder.config, h)
    edge_index = None if links is not None and edge_attr is None else tokens.edge_index
    return encoder(h, tokens.ptr, edge_index=edge_index, edge_attr=edge_attr, graph=links)


def content_links(space: ContentSpace, tokens: TokenSet, config: SOESEncoderConfig) -> TokenGraph:
    """Return the edges along which tokens may listen, with what is thought of them before anything is learned.

    Those are the tokens' own edges and, unless the encoder learns none, links to those most like them.
    """
    given = None
    if tokens.edge_index is not None:
        given = TokenGraph.from_edge_index(tokens.edge_index, len(tokens.x), ptr=tokens.ptr)
    return space.graph(tokens.x, config.neighbors if config.learn else 0, tokens.ptr, given, config.search)


def edge_attributes(tokens: TokenSet, config: SOESEncoderConfig, like: Tensor) -> Tensor | None:
    """Return the attributes of the tokens' edges; zeros where the encoder expects some and there are none."""
    if config.edge_features and tokens.edge_index is not None and tokens.edge_attr is None:
        return like.new_zeros(tokens.edge_index.shape[1], config.edge_features)
    return tokens.edge_attr

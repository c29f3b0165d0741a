"""The masked encoder: tokens and sets as vectors, learned from what the tokens hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from structformer.models.choice import build_encoder
from structformer.models.encoder import Encoded, SOESEncoderConfig
from structformer.models.pooled import TokenInput, content_links, encode_states, prefer_given
from structformer.nn.content_space import ContentSpace
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.nn.readout import SetPooling
from structformer.tokens import TokenSet


@dataclass
class MaskedOutput:
    """What a masked encoder returns.

    Attributes:
        tokens: One vector a token.
        sets: One vector a set.
        features: What each token is thought to hold.
        encoded: The encoded tokens with their graphs.
    """

    tokens: Float[Tensor, "tokens width"]
    sets: Float[Tensor, "sets width"]
    features: Float[Tensor, "tokens features"]
    encoded: Encoded


class MaskedEncoder(nn.Module):
    """Encode tokens of which some are hidden; say what the hidden ones hold (masked autoencoding).

    Edges are found once, by content (`ContentSpace`), beside the data's own; every step weighs them anew. Hidden tokens
    keep their edges: whom they are like is known, and what they hold is to be told from those, so that the edges which
    help to tell it gain weight (learning structure by denoising: SLAPS, arXiv 2102.05034).

    Args:
        tokens: What raw tokens look like.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
        counted: Whether features count something, such as words; see `ContentSpace`.
    """

    def __init__(self, tokens: TokenInput, config: SOESEncoderConfig, counted: bool = False) -> None:
        super().__init__()
        width = config.width
        self.space = ContentSpace(tokens.features, counted)
        self.embedding = FeatureEmbedding(tokens.features, width, tokens.bins, tokens.token_types)
        self.hidden = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.encoder = build_encoder(config)
        prefer_given(self.encoder, bonus=6.0, sharpness=1.0)
        self.pooling = SetPooling(width, config.heads)
        self.decoder = nn.Sequential(Linear(width, 2 * width), nn.GELU(), Linear(2 * width, tokens.features))

    def forward(self, tokens: TokenSet, masked: Bool[Tensor, " tokens"] | None = None) -> MaskedOutput:
        """Return vectors of tokens and sets; ``masked`` tokens are seen as hidden."""
        h = self.embedding(tokens.x, tokens.token_type)
        if masked is not None:
            h = torch.where(masked[:, None], self.hidden, h)
        links = content_links(self.space, tokens, self.encoder.config)
        encoded = encode_states(h, self.encoder, tokens, links)
        pooled = self.pooling(encoded.tokens, tokens.ptr)
        return MaskedOutput(encoded.tokens, pooled, self.decoder(encoded.tokens), encoded)

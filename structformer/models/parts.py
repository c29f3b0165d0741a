"""The parts model: outputs for each of the parts that a set is made of."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from structformer.models.choice import build_encoder
from structformer.models.encoder import Encoded, SOESEncoderConfig
from structformer.models.pooled import TokenInput, encode, prefer_given
from structformer.nn.dropout import Dropout
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.nn.mixture_pooling import Mixture, MixturePooling
from structformer.tokens import TokenSet


@dataclass
class PartsOutput:
    """What a parts model returns: outputs of the parts, the parts themselves, and the encoded tokens."""

    outputs: Float[Tensor, "sets parts outputs"]
    parts: Mixture
    encoded: Encoded


class PartsModel(nn.Module):
    """Embed tokens, encode each set along its learned graph, divide it into parts, read out each part.

    Parts are found in the tokens' features, turned and scaled as is learned: at first as they are, so features should
    be of about the same spread. All parts are read out alike, and come in no order that means anything.

    Args:
        tokens: What raw tokens look like.
        parts: Parts of a set.
        outputs: Numbers to read out for a part.
        config: The encoder; a `ReSSFormerConfig` makes it a `ReSSFormer`.
    """

    def __init__(self, tokens: TokenInput, parts: int, outputs: int, config: SOESEncoderConfig) -> None:
        super().__init__()
        width, statistics = config.width, 1 + 2 * tokens.features
        self.embedding = FeatureEmbedding(tokens.features, width, tokens.bins, tokens.token_types)
        self.encoder = build_encoder(config)
        prefer_given(self.encoder, bonus=4.0)
        self.place = Linear(tokens.features, tokens.features, bias=False)
        nn.init.eye_(self.place.weight)
        self.pooling = MixturePooling(parts)
        self.value = Linear(width, width)
        self.statistics, self.size = Linear(statistics, width), Linear(1, width)
        # Where a part is, is also read out straight, which a normalised vector tells badly.
        self.straight = Linear(width, outputs)
        nn.init.zeros_(self.straight.weight)
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            Dropout(config.dropout),
            Linear(width, width),
            nn.GELU(),
            Linear(width, outputs),
        )

    def forward(self, tokens: TokenSet) -> PartsOutput:
        """Return one row of outputs a part of each set."""
        encoded = encode(self.embedding, self.encoder, tokens)
        parts = self.pooling(self.place(tokens.x), tokens.ptr)
        held = parts.average(self.value(encoded.tokens), tokens.ptr) + self.statistics(parts.statistics)
        held = held + self.size(tokens.sizes[:, None].to(held.dtype).log1p())[:, None]
        return PartsOutput(self.head(held) + self.straight(held), parts, encoded)

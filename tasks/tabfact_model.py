"""The network that judges statements: tokens of a statement and its table in, a score for "true" out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.models.choice import build_encoder, encoder_config
from structformer.models.pooled import prefer_given
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.nn.readout import SetPooling
from structformer.tokens import TokenSet

from .baselines.bidirectional import BidirectionalEncoder
from .tabfact_tokens import EDGES, FEATURES, KINDS, LINKED


class FactEmbedding(nn.Module):
    """Embed facts: standardised, piecewise linear, and mixed once more.

    Args:
        facts: Those of the training statements.
        width: Features to return.
        dropout: Probability of dropping one on the way.
        pieces: Most pieces of a fact's function.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, facts: Float[np.ndarray, "statements facts"], width: int, dropout: float, pieces: int = 8
    ) -> None:
        super().__init__()
        mean, spread = facts.mean(0), facts.std(0) + 1e-6
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("spread", torch.from_numpy(spread))
        quantiles = np.quantile((facts - mean) / spread, np.linspace(0, 1, pieces + 1), axis=0)
        edges = [np.unique(column.astype(np.float32)) for column in quantiles.T]
        self.embedding = FeatureEmbedding(
            facts.shape[1], width, [edge.tolist() if len(edge) > 2 else [] for edge in edges]
        )
        self.mix = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), Linear(width, width))

    def forward(self, facts: Float[Tensor, "statements facts"]) -> Float[Tensor, "statements width"]:
        """Return one vector a statement."""
        h = self.embedding((facts - self.mean) / self.spread)
        return h + self.mix(h)


class FactModel(nn.Module):
    """Embed tokens, let them listen to each other, pool, judge.

    A token is the sum of a linear map of its features, a vector of its kind, and the mean of its words' vectors; the
    facts are said by a token of their own, and again to the last layer.

    Args:
        lexicon: Different words, the two kinds of unknown ones among them.
        facts: Those of the training statements, from which scales are learned.
        encoder: What lets tokens listen; see `fact_encoder`.
        width: Features of a token.
        heads: Of the pooling.
        dropout: Probability of dropping a feature, and a word.
        masked: In training, probability that the words of a linked word or cell are not read: statements are to be
            judged by what they say of the table, not by whom they speak of.
    """

    def __init__(
        self,
        lexicon: int,
        facts: Float[np.ndarray, "statements facts"],
        encoder: nn.Module,
        width: int,
        heads: int,
        dropout: float,
        masked: float,
    ) -> None:
        super().__init__()
        self.dropped, self.masked = dropout, masked
        self.features = Linear(FEATURES, width)
        self.kind = nn.Embedding(len(KINDS), width)
        self.word = nn.Embedding(lexicon, width, padding_idx=0)
        for table in (self.kind, self.word):
            nn.init.normal_(table.weight, std=0.3)
        self.facts = FactEmbedding(facts, width, dropout)
        self.encoder = encoder
        self.pooling = SetPooling(width, heads)
        self.head = nn.Sequential(
            nn.LayerNorm(3 * width),
            nn.Dropout(dropout),
            Linear(3 * width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            Linear(width, 1),
        )

    def forward(self, tokens: TokenSet) -> tuple[Float[Tensor, "sets"], Float[Tensor, ""]]:
        """Return a score for "true" of each statement, and what the encoder adds to a training loss."""
        said = self.facts(tokens.set_facts)
        first = tokens.ptr[:-1]
        h = self.features(tokens.x) + self.kind(tokens.token_type) + self._read(tokens)
        h = h.index_add(0, first, said)
        extra = h.new_zeros(())
        if isinstance(self.encoder, BidirectionalEncoder):
            h = self.encoder(h, tokens.ptr)
        else:
            found = self.encoder(h, tokens.ptr, edge_index=tokens.edge_index, edge_attr=tokens.edge_attr)
            h, extra = found.tokens, found.loss
        pooled = self.pooling(h, tokens.ptr)
        return self.head(torch.cat([pooled, h[first], said], dim=1)).squeeze(1), extra

    def _read(self, tokens: TokenSet) -> Float[Tensor, "tokens width"]:
        ids: Int[Tensor, "tokens read"] = tokens.token_words
        if self.training:
            linked = torch.zeros(len(ids), dtype=torch.bool)
            for kind, place in LINKED.items():
                linked |= (tokens.token_type == kind) & (tokens.x[:, place] > 0)
            chance = torch.where(linked, max(self.masked, self.dropped), self.dropped)
            ids = torch.where((torch.rand(len(ids)) < chance)[:, None], ids.clamp(max=1), ids)
        there = (ids > 0).to(tokens.x.dtype)
        return (self.word(ids) * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)


def fact_encoder(name: str, width: int, heads: int, dropout: float, **options: Any) -> nn.Module:
    """Return what lets the tokens listen to each other.

    Args:
        name: "soes" or "ressformer", along given and learned edges; "transformer", dense with rotary positions; or
            "dense", the same without positions.
        width: Features of a token.
        heads: Attention heads.
        dropout: Probability of dropping a feature.
        **options: Further fields of the encoder's config, or arguments.

    Raises:
        ValueError: If an option is none of that encoder's.
    """
    if name in ("transformer", "dense"):
        return BidirectionalEncoder(width, heads, rotary=name == "transformer", dropout=dropout, **options)
    config = encoder_config(
        name, options, width=width, heads=heads, dropout=dropout, edge_features=len(EDGES)
    )
    encoder = build_encoder(config)
    prefer_given(encoder, bonus=2.0)
    return encoder

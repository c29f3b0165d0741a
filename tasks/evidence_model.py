"""The network that finds evidence: the paragraphs of a question are a set of tokens, each with a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.models.choice import build_encoder, encoder_config
from structformer.models.pooled import prefer_given
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.linear import Linear
from structformer.tokens import TokenSet

from .baselines.bidirectional import BidirectionalEncoder
from .evidence_data import LINKS, NAMING, Evidence


class EvidenceModel(nn.Module):
    """Embed paragraphs, let those of a question listen to each other, score each.

    Args:
        bins: For each feature the edges of the pieces of its embedding.
        encoder: What lets paragraphs listen; see `evidence_encoder`.
        width: Features of a token.
        dropout: Probability of dropping a feature.
    """

    def __init__(
        self, bins: Sequence[Sequence[float]], encoder: nn.Module, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = FeatureEmbedding(len(bins), width, bins, dropout=dropout)
        self.encoder = encoder
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), Linear(width, 1))

    def forward(self, tokens: TokenSet) -> tuple[Float[Tensor, "paragraphs"], Float[Tensor, ""]]:
        """Return a score of each paragraph, and what the encoder adds to a training loss."""
        h = self.embedding(tokens.x)
        if isinstance(self.encoder, BidirectionalEncoder):
            return self.head(self.encoder(h, tokens.ptr)).squeeze(1), h.new_zeros(())
        edges = {}
        if tokens.edge_index is not None:
            edges = {"edge_index": tokens.edge_index, "edge_attr": tokens.edge_attr}
        found = self.encoder(h, tokens.ptr, **edges)
        return self.head(found.tokens).squeeze(1), found.loss


def evidence_encoder(
    name: str, width: int, heads: int, dropout: float, links: str, **options: Any
) -> nn.Module:
    """Return what lets the paragraphs listen to each other.

    Args:
        name: "soes" or "ressformer"; "transformer", dense with rotary positions; or "dense", without positions.
        width: Features of a token.
        heads: Attention heads.
        dropout: Probability of dropping a feature.
        links: Which pairs are given; see `pack`.
        **options: Further fields of the encoder's config, or arguments.

    Raises:
        ValueError: If an option is none of that encoder's.
    """
    if name in ("transformer", "dense"):
        if links != "none":
            raise ValueError(f"links must be none for {name} (got {links})")
        return BidirectionalEncoder(width, heads, rotary=name == "transformer", dropout=dropout, **options)
    features = 0 if links == "none" else len(LINKS)
    config = encoder_config(name, options, width=width, heads=heads, dropout=dropout, edge_features=features)
    encoder = build_encoder(config)
    prefer_given(encoder, bonus=1.0)
    return encoder


def pack(questions: Sequence[Evidence], links: str) -> TokenSet:
    """Pack the paragraphs of questions, a set each.

    Args:
        questions: With their figures.
        links: "all" gives every pair with its `LINKS`, "naming" those of which one has the title of the other, "none"
            none.

    Raises:
        ValueError: If ``links`` is neither.
    """
    if links not in ("all", "naming", "none"):
        raise ValueError(f"links must be all, naming or none (got {links!r})")
    starts = np.cumsum([0, *(len(one.x) for one in questions)])
    edges: dict[str, Tensor] = {}
    if links != "none":
        found, values = [], []
        for one, start in zip(questions, starts[:-1], strict=True):
            there = ~np.eye(len(one.x), dtype=bool)
            if links == "naming":
                there &= one.links[..., NAMING].any(-1)
            target, source = there.nonzero()
            found.append(np.stack([source, target]) + start)
            values.append(one.links[target, source])
        edges = {
            "edge_index": torch.from_numpy(np.concatenate(found, axis=1)),
            "edge_attr": torch.from_numpy(np.concatenate(values)).float(),
        }
    return TokenSet(
        x=torch.from_numpy(np.concatenate([one.x for one in questions])).float(),
        ptr=torch.from_numpy(starts),
        y=torch.from_numpy(np.concatenate([one.supporting for one in questions])),
        **edges,
    )

"""The arms that tell hidden words: ours and Transformers, with one interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structformer.models.language import ReSSFormerLMConfig
from structformer.models.language_state import window_graph
from structformer.models.masked_text import MaskedTextEncoder
from structformer.models.pooled import prefer_given
from structformer.models.ressformer import ReSSFormer, ReSSFormerConfig
from structformer.ops.segment import row_index

from .baselines.bidirectional import BidirectionalEncoder


@dataclass
class Told:
    """What an arm says.

    Attributes:
        logits: Scores of what each of the words asked for is.
        loss: What the arm itself adds to a training loss.
    """

    logits: Float[Tensor, "asked vocabulary"]
    loss: Float[Tensor, ""]


class MaskedTextArm(nn.Module):
    """`MaskedTextEncoder`, asked for some words alone: scoring a whole vocabulary for all would take most of the time.

    Order enters through its window: which words are near, not which come first.
    """

    def __init__(self, vocabulary: int, width: int, heads: int, dropout: float, **options: Any) -> None:
        super().__init__()
        self.encoder = MaskedTextEncoder(
            ReSSFormerLMConfig(
                vocabulary=vocabulary,
                width=width,
                heads=heads,
                dropout=dropout,
                causal=False,
                convolution=0,
                **options,
            )
        )

    def forward(
        self, ids: Int[Tensor, "words"], ptr: Int[Tensor, "pointers"], where: Bool[Tensor, "words"]
    ) -> Told:
        """Return the scores of the words asked for; the hidden word is number ``vocabulary``."""
        whole = self.encoder
        read = whole.model(ids, ptr, where=torch.zeros_like(where))
        texts = whole.pooling(read.tokens, ptr)
        tokens = read.tokens[where] + whole.context(texts)[row_index(ptr, len(ids))[where]]
        return Told(whole.model.head(whole.norm(tokens))[:, :-1], read.loss)


class WordModel(nn.Module):
    """Embed words, let an encoder read them, and score with the embedding's own vectors."""

    def __init__(self, vocabulary: int, width: int, encoder: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary + 1, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = encoder

    def forward(
        self, ids: Int[Tensor, "words"], ptr: Int[Tensor, "pointers"], where: Bool[Tensor, "words"]
    ) -> Told:
        """Return the scores of the words asked for; the hidden word is number ``vocabulary``."""
        h = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        h, loss = self.read(h, ptr)
        return Told(h[where] @ self.embedding.weight[:-1].T, loss)

    def read(
        self, h: Float[Tensor, "words width"], ptr: Int[Tensor, "pointers"]
    ) -> tuple[Float[Tensor, "words width"], Float[Tensor, ""]]:
        """Return the final states, and what the encoder adds to a training loss."""
        return self.encoder(h, ptr), h.new_zeros(())


class DirectedArm(WordModel):
    """`ReSSFormer` along a learned graph and a window whose links say how far before or after a word stands."""

    def __init__(
        self, vocabulary: int, width: int, heads: int, dropout: float, window: int, **options: Any
    ) -> None:
        config = ReSSFormerConfig(
            width=width, heads=heads, dropout=dropout, edge_features=2 * window, **options
        )
        super().__init__(vocabulary, width, ReSSFormer(config))
        prefer_given(self.encoder, bonus=2.0)
        self.window = window

    def read(
        self, h: Float[Tensor, "words width"], ptr: Int[Tensor, "pointers"]
    ) -> tuple[Float[Tensor, "words width"], Float[Tensor, ""]]:
        """Return the final states, and what the experts' routing costs."""
        near = window_graph(ptr, self.window, causal=False)
        apart = near.col - near.row
        place = torch.where(apart < 0, apart + self.window, apart + self.window - 1)
        kind = torch.nn.functional.one_hot(place, 2 * self.window).to(h.dtype)
        found = self.encoder(h, ptr, edge_index=torch.stack([near.col, near.row]), edge_attr=kind)
        return found.tokens, found.loss


def _transformer(
    vocabulary: int, width: int, heads: int, dropout: float, layers: int, rotary: bool, expansion: float = 2.0
) -> WordModel:
    encoder = BidirectionalEncoder(width, heads, layers, rotary, expansion, dropout)
    return WordModel(vocabulary, width, encoder)


_BUILD: dict[str, Callable[..., nn.Module]] = {
    "masked text encoder": MaskedTextArm,
    "directed window": DirectedArm,
    "transformer": _transformer,
}


def build(options: Mapping[str, Any], vocabulary: int, heads: int, dropout: float) -> nn.Module:
    """Return an untrained arm.

    Args:
        options: Its "kind", its width, and what else it takes.
        vocabulary: Different words.
        heads: Attention heads.
        dropout: Probability of dropping a feature.

    Raises:
        ValueError: If there is no such kind.
    """
    options = dict(options)
    kind = options.pop("kind")
    if kind not in _BUILD:
        raise ValueError(f"kind must be one of {', '.join(_BUILD)} (got {kind!r})")
    return _BUILD[kind](vocabulary, heads=heads, dropout=dropout, **options)

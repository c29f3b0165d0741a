"""Causal language models that differ in their mixer alone: the skeleton that every arm shares."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.nn.feedforward import FeedForward

from .counting import forward_flops


@dataclass(frozen=True)
class TextConfig:
    """What the arms of a text task share.

    Attributes:
        vocabulary: Token identifiers, from 0.
        width: Features of a token.
        layers: Blocks one after the other; for the Universal Transformer, steps of its one block.
        heads: Heads of the mixer; must divide ``width``.
        expansion: Hidden features of the feed-forward network as a multiple of ``width``.
        convolution: Tokens that the short causal convolution before every mixer sees; 0 is none.
        dropout: Probability of dropping a feature that a mixer returns, or a hidden one of the feed-forward network.
        tied: Whether the head reads with the embedding's own vectors.
    """

    vocabulary: int
    width: int = 64
    layers: int = 2
    heads: int = 2
    expansion: float = 2.0
    convolution: int = 3
    dropout: float = 0.0
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width (got heads={self.heads}, width={self.width})")
        if not self.expansion > 0:
            raise ValueError(f"expansion must be positive (got {self.expansion})")
        if self.convolution < 0:
            raise ValueError(f"convolution must be at least 0 (got {self.convolution})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (got {self.dropout})")

    @property
    def channels(self) -> int:
        """Features of a head."""
        return self.width // self.heads


@dataclass
class TextOutput:
    """What an arm returns.

    Attributes:
        logits: Scores of the next token, after each token, or after those asked for.
        steps: Steps that each token took; None where all take the same.
        ponder: Those steps and the remainder of the last one, to be made small; None likewise.
        loss: What routing among experts adds to a training loss; None without experts.
    """

    logits: Float[Tensor, "*asked vocabulary"]
    steps: Int[Tensor, "batch length"] | None = None
    ponder: Float[Tensor, "batch length"] | None = None
    loss: Float[Tensor, ""] | None = None


class Mixer(nn.Module, ABC):
    """Lets each token hear the tokens before it. Nothing is heard from later ones."""

    @property
    def state_size(self) -> int | None:
        """Numbers a sequence that are kept to go on from; None where they become more with every token."""
        return None

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return what each token heard, and what the first layer has for all later ones.

        Args:
            x: Normalised states of the tokens.
            first: What the first layer had; None in the first layer, and where nothing is handed on.
        """


class CausalConvolution(nn.Module):
    """out_i = Σ_{d < size} w_d ⊙ x_{i−d}: a feature's own last values, mixed.

    Args:
        width: Features of a token.
        size: Tokens seen, the token itself among them.
        identity: Whether it is at first nearly x itself; else every w is drawn alike, as torch draws a convolution's.
    """

    NOISE = 0.02

    def __init__(self, width: int, size: int, identity: bool = True) -> None:
        super().__init__()
        if identity:
            weight = self.NOISE * torch.randn(size, width)
            weight[0] = 1.0
        else:
            weight = torch.empty(size, width).uniform_(-1, 1) / math.sqrt(size)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """Return the convolved features; before the first token there are zeros."""
        length = x.shape[1]
        padded = F.pad(x, (0, 0, len(self.weight) - 1, 0))
        starts = reversed(range(len(self.weight)))
        parts = [w * padded[:, at : at + length] for w, at in zip(self.weight, starts, strict=True)]
        return torch.stack(parts).sum(0)


class Block(nn.Module):
    """Pre-norm block: a convolution and the mixer, then the gated feed-forward network, both beside the state."""

    def __init__(self, config: TextConfig, mixer: Mixer) -> None:
        super().__init__()
        self.mixer_norm, self.feed_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.convolution = (
            CausalConvolution(config.width, config.convolution) if config.convolution else nn.Identity()
        )
        self.mixer = mixer
        self.dropout = nn.Dropout(config.dropout)
        self.feed = FeedForward(config.width, config.expansion, config.dropout)

    def forward(
        self, h: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return the next states, and what the mixer hands on."""
        heard, first = self.mixer(self.convolution(self.mixer_norm(h)), first)
        h = h + self.dropout(heard)
        return h + self.feed(self.feed_norm(h).flatten(0, 1)).view_as(h), first


class TextModel(nn.Module):
    """A causal language model over token identifiers, its blocks given by their mixers.

    Embedded tokens are multiplied by √width, so that a tied head has scores near 1 at first (Vaswani et al. 2017,
    arXiv 1706.03762, section 3.4). There are no position embeddings: order is the mixers' affair.

    Args:
        config: What the arms share.
        mixers: One a block.
    """

    def __init__(self, config: TextConfig, mixers: Sequence[Mixer]) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config, mixer) for mixer in mixers)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        for table in (self.embedding, self.head):
            nn.init.normal_(table.weight, std=1 / math.sqrt(config.width))
        if config.tied:
            self.head.weight = self.embedding.weight

    @property
    def num_parameters(self) -> int:
        """Numbers that training changes; a tied head's count once."""
        return sum(weight.numel() for weight in self.parameters())

    @property
    def state_size(self) -> int | None:
        """Numbers a sequence that are kept to go on from; None where they become more with every token."""
        sizes = [self._state_size(block.mixer) for block in self.applied()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def applied(self) -> list[Block]:
        """Return the blocks as they are applied, one after the other."""
        return list(self.blocks)

    def forward(self, ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length vocabulary"]:
        """Return scores of the next token, after each token."""
        return self.run(ids).logits

    def run(
        self, ids: Int[Tensor, "batch length"], where: Bool[Tensor, "batch length"] | None = None
    ) -> TextOutput:
        """Return the scores, of all tokens or those asked for, with all that the arm has to say beside them."""
        h, first = self.embed(ids), None
        for block in self.applied():
            h, first = block(h, first)
        return TextOutput(self.read(h, where))

    def embed(self, ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """Return the tokens' first states."""
        return self.embedding(ids) * math.sqrt(self.config.width)

    def read(
        self, h: Float[Tensor, "batch length width"], where: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "*asked vocabulary"]:
        """Return the scores that final states give."""
        return self.head(self.norm(h if where is None else h[where]))

    def flops(self, length: int) -> float:
        """Return the operations a token of a forward pass over a text of so many tokens; see `forward_flops`."""
        ids = torch.zeros(1, length, dtype=torch.long, device=self.embedding.weight.device)
        return forward_flops(self, ids) / length

    def _state_size(self, mixer: Mixer) -> int | None:
        kept = max(self.config.convolution - 1, 0) * self.config.width
        return None if mixer.state_size is None else mixer.state_size + kept

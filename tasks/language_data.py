"""Plain text for language models, as streams of tokens and their segments.

Counts of bytes and words are exact, so that losses of models with different tokens compare: bits per byte,
and perplexity per word as the WikiText papers count words (Merity et al. 2017, arXiv 1609.07843): what stands
between blanks, and the end of each line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Int
from torch import Tensor

# The target of positions without a next token: what cross_entropy leaves out by default.
IGNORED = -100


class Encoder(Protocol):
    """What turns text into tokens, such as :class:`structformer.tokenize.TextTokenizer`."""

    vocab_size: int

    def encode(self, text: bytes, /) -> Int[Tensor, "tokens"]:
        """Return the tokens of a text."""
        ...


@dataclass(frozen=True)
class Stream:
    """A text as tokens.

    Attributes:
        ids: A line feed, from which the first token is predicted, and all tokens of the text.
        num_bytes: Bytes of the text, the first line feed left out.
        num_words: Words of the text, ends of lines among them.
    """

    ids: Int[Tensor, "tokens"]
    num_bytes: int
    num_words: int


@dataclass(frozen=True)
class Segment:
    """The next piece of each of several lanes of text.

    Attributes:
        ids: Tokens to read.
        targets: The token that follows each, or `IGNORED` after the end of the text.
        fresh: Whether lanes begin here, so that what memory holds of others must be forgotten.
    """

    ids: Int[Tensor, "batch length"]
    targets: Int[Tensor, "batch length"]
    fresh: bool


def encode_stream(text: bytes, encoder: Encoder) -> Stream:
    """Turn a text into tokens, with its bytes and words counted.

    Raises:
        ValueError: The text is empty.
    """
    if not text:
        raise ValueError("text is empty: at least 1 byte is needed")
    return Stream(torch.cat([encoder.encode(b"\n"), encoder.encode(text)]), len(text), count_words(text))


def segments(ids: Int[Tensor, "tokens"], batch: int, length: int) -> Iterator[Segment]:
    """Walk through a text in several lanes at once, each lane a contiguous part of it.

    Lane b of a segment goes on where lane b of the segment before ended, so that memory can be carried
    along. Every token but the first of `ids` is the target of exactly one position; the last segment may be
    shorter, and the last lanes end in `IGNORED`.

    Args:
        ids: The tokens, as in `Stream.ids`.
        batch: Number of lanes.
        length: Tokens of a segment in each lane.

    Raises:
        ValueError: `batch` or `length` is less than 1, or there are not two tokens.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1 (got {batch})")
    if length < 1:
        raise ValueError(f"length must be at least 1 (got {length})")
    if len(ids) < 2:
        raise ValueError(f"ids must hold at least 2 tokens (got {len(ids)})")
    lane = -(-(len(ids) - 1) // batch)
    missing = (0, batch * lane - (len(ids) - 1))
    inputs = torch.nn.functional.pad(ids[:-1], missing).view(batch, lane)
    targets = torch.nn.functional.pad(ids[1:], missing, value=IGNORED).view(batch, lane)
    starts = range(0, lane, length)
    return (Segment(inputs[:, s : s + length], targets[:, s : s + length], s == 0) for s in starts)


def count_words(text: bytes) -> int:
    """Return the number of words, the end of a line being one."""
    return len(text.split()) + text.count(b"\n")


def bits_per_byte(nats: float, stream: Stream) -> float:
    """Return bits per byte from the negative log-likelihood in nats, summed over all tokens of a text."""
    return nats / math.log(2) / stream.num_bytes


def word_perplexity(nats: float, stream: Stream) -> float:
    """Return the perplexity per word from the negative log-likelihood in nats, summed over all tokens of a text."""
    per_word = nats / stream.num_words
    # A model that diverged is infinitely perplexed; math.exp would refuse to say so.
    return math.inf if per_word > 709 else math.exp(per_word)

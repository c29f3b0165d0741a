"""Paragraphs of WikiText-2 as words, and the same with sentences or words in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from structformer.datasets import wikitext2
from torch import Tensor

from .sweeps import generator

ORDERS = ("in order", "sentences shuffled", "words shuffled")
UNKNOWN = 0
_ENDS = frozenset({".", "!", "?"})
_NO_WORD = "<unk>"

Sentence = tuple[str, ...]


@dataclass(frozen=True)
class Paragraph:
    """A piece of text.

    Attributes:
        words: Numbers of its words.
        bounds: Where its sentences begin, and the end of the last.
    """

    words: Int[Tensor, "words"]
    bounds: tuple[int, ...]

    def order(self, name: str, drawn: torch.Generator) -> Int[Tensor, "words"]:
        """Return the places of the words in one of `ORDERS`.

        Raises:
            ValueError: If there is no such order.
        """
        if name not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)} (got {name!r})")
        if name == "words shuffled":
            return torch.randperm(len(self.words), generator=drawn)
        spans = list(pairwise(self.bounds))
        turn = (
            torch.randperm(len(spans), generator=drawn).tolist() if name != "in order" else range(len(spans))
        )
        return torch.cat([torch.arange(*spans[place]) for place in turn])


@dataclass(frozen=True)
class Paragraphs:
    """Three parts of a corpus, with the words of the training part."""

    train: tuple[Paragraph, ...]
    validation: tuple[Paragraph, ...]
    test: tuple[Paragraph, ...]
    vocabulary: int


@dataclass(frozen=True)
class Masked:
    """A batch of paragraphs with hidden words.

    Attributes:
        words: What is there.
        ptr: Boundaries of the paragraphs.
        chosen: Words to be told.
        origin: Where each word stands in the paragraphs in order.
    """

    words: Int[Tensor, "words"]
    ptr: Int[Tensor, "pointers"]
    chosen: Bool[Tensor, "words"]
    origin: Int[Tensor, "words"]


@lru_cache(maxsize=2)
def wikitext_paragraphs(vocabulary: int, longest: int) -> Paragraphs:
    """Return the paragraphs of WikiText-2, in pieces of whole sentences.

    Args:
        vocabulary: Most words that are told apart, the commonest of the training part; any other reads alike.
        longest: Most words of a piece.

    Raises:
        FileNotFoundError: If there is no folder with real data.
    """
    splits = wikitext2()
    texts = [pieces(part.decode(), longest) for part in (splits.train, splits.valid, splits.test)]
    counts = Counter(word for piece in texts[0] for sentence in piece for word in sentence)
    counts.pop(_NO_WORD, None)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - 1]
    number = {word: place for place, word in enumerate(common, start=1)}
    parts = [tuple(numbered(piece, number) for piece in part) for part in texts]
    return Paragraphs(*parts, len(number) + 1)


def pieces(text: str, longest: int) -> list[list[Sentence]]:
    """Cut paragraphs into pieces of at least two whole sentences and at most so many words; headings are left out."""
    found: list[list[Sentence]] = []
    for line in text.lower().splitlines():
        if line.strip().startswith("=") or not line.strip():
            continue
        piece: list[Sentence] = []
        for sentence in sentences(line.split()):
            if piece and sum(map(len, piece)) + len(sentence) > longest:
                found.append(piece)
                piece = []
            if len(sentence) <= longest:
                piece.append(sentence)
        found.append(piece)
    return [piece for piece in found if len(piece) > 1]


def sentences(words: Sequence[str]) -> list[Sentence]:
    """Cut behind full stops, exclamation marks and question marks."""
    found: list[Sentence] = []
    begun: list[str] = []
    for word in words:
        begun.append(word)
        if word in _ENDS:
            found.append(tuple(begun))
            begun = []
    return [*found, tuple(begun)] if begun else found


def numbered(piece: Sequence[Sentence], number: dict[str, int]) -> Paragraph:
    """Return a piece with numbers in place of words."""
    words = [number.get(word, UNKNOWN) for sentence in piece for word in sentence]
    bounds = [0]
    for sentence in piece:
        bounds.append(bounds[-1] + len(sentence))
    return Paragraph(torch.tensor(words), tuple(bounds))


def masked(paragraphs: Sequence[Paragraph], order: str, share: float, *numbers: int) -> Masked:
    """Pack paragraphs in an order, with words chosen to be told: the same words whatever the order.

    Args:
        paragraphs: Pieces of text.
        order: One of `ORDERS`.
        share: Of the known words that are chosen.
        *numbers: Decide which, and the order.
    """
    choosing, turning = generator(0, *numbers), generator(1, *numbers)
    words, chosen, origin, before = [], [], [], 0
    for paragraph in paragraphs:
        drawn = torch.rand(len(paragraph.words), generator=choosing) < share
        place = paragraph.order(order, turning)
        words.append(paragraph.words[place])
        chosen.append((drawn & (paragraph.words != UNKNOWN))[place])
        origin.append(place + before)
        before += len(place)
    sizes = torch.tensor([0, *map(len, words)])
    return Masked(torch.cat(words), sizes.cumsum(0), torch.cat(chosen), torch.cat(origin))

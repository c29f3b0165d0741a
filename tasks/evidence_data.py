"""Questions with their paragraphs as figures: how a paragraph goes with the question, and how two go together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from structformer.datasets import Question

from .tabfact_links import longest_common
from .tabfact_words import words

FEATURES = (
    "bm25",
    "bm25 of the best sentence",
    "bm25 of the first sentence",
    "cosine",
    "question covered",
    "title in question",
    "title said in question",
    "longest stretch in common",
    "pairs of words in common",
    "names in common",
    "numbers in common",
    "length",
)
# How paragraph j goes with paragraph i, for an edge from j to i.
LINKS = (
    "j names i",
    "i names j",
    "cosine",
    "rarest word in common beside the question",
    "titles in common",
    "question covered together beyond j",
)
# Those that say whether one has the other's title.
NAMING = [0, 1]
_K1, _B = 1.2, 0.75
_CAPITAL = re.compile(r"(?<![.?!] )(?<!^)\b[A-Z][\w'-]*")

Stems = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A question with figures of its paragraphs.

    Attributes:
        x: `FEATURES` of each paragraph.
        links: `LINKS` of each pair: [i, j] is of the edge from j to i.
        supporting: Which paragraphs are needed.
    """

    x: Float[np.ndarray, "paragraphs features"]
    links: Float[np.ndarray, "paragraphs paragraphs links"]
    supporting: Bool[np.ndarray, "paragraphs"]

    def permuted(self, order: Sequence[int]) -> Evidence:
        """Return the same with the paragraphs in another order."""
        return Evidence(self.x[order], self.links[np.ix_(order, order)], self.supporting[order])


@dataclass(frozen=True)
class Rarity:
    """How rare words are in paragraphs: log((N − n + ½) / (n + ½) + 1) (Robertson and Zaragoza 2009, eq. 3.3).

    Attributes:
        counts: In how many paragraphs each word is.
        paragraphs: How many there are.
        length: Of a paragraph, on average.
    """

    counts: Counter[str]
    paragraphs: int
    length: float

    @classmethod
    def of(cls, texts: Iterable[Stems]) -> Rarity:
        """Count the words of paragraphs."""
        texts = list(texts)
        counts = Counter(word for text in texts for word in set(text))
        return cls(counts, len(texts), sum(map(len, texts)) / max(1, len(texts)))

    def __call__(self, word: str) -> float:
        """Return how rare a word is."""
        found = self.counts[word]
        return math.log((self.paragraphs - found + 0.5) / (found + 0.5) + 1)


@lru_cache(maxsize=1 << 16)
def stems(text: str) -> Stems:
    """Return the stems of a text's words."""
    return tuple(word.stem for word in words(text))


def body(question: Question, place: int) -> Stems:
    """Return the words of a paragraph, its title among them."""
    return stems(question.titles[place]) + stems(" ".join(question.paragraphs[place]))


def rarity(questions: Iterable[Question]) -> Rarity:
    """Return how rare words are in the paragraphs of these questions."""
    return Rarity.of(body(question, place) for question in questions for place in range(len(question.titles)))


def evidence(question: Question, rare: Rarity) -> Evidence:
    """Return the figures of a question's paragraphs."""
    count = len(question.titles)
    asked = stems(question.question)
    bodies = [body(question, place) for place in range(count)]
    vectors = [tfidf(text, rare) for text in bodies]
    x = np.array(
        [_features(question, place, asked, bodies[place], vectors[place], rare) for place in range(count)]
    )
    links = np.zeros((count, count, len(LINKS)))
    for i in range(count):
        for j in range(count):
            if i != j:
                links[i, j] = _links(question, i, j, set(asked), bodies, vectors, rare)
    supporting = np.zeros(count, dtype=bool)
    supporting[list(question.supporting)] = True
    return Evidence(x, links, supporting)


def bm25(asked: Iterable[str], text: Stems, rare: Rarity) -> float:
    """Return the score of a text (Robertson and Zaragoza 2009, The probabilistic relevance framework, eq. 3.15)."""
    counts, scale = Counter(text), _K1 * (1 - _B + _B * len(text) / rare.length)
    return math.fsum(
        rare(word) * counts[word] * (_K1 + 1) / (counts[word] + scale) for word in set(asked) if counts[word]
    )


def tfidf(text: Stems, rare: Rarity) -> dict[str, float]:
    """Return a text's words with their weights, of length 1 together."""
    raw = {word: (1 + math.log(count)) * rare(word) for word, count in Counter(text).items()}
    length = math.sqrt(math.fsum(value**2 for value in raw.values())) or 1.0
    return {word: value / length for word, value in raw.items()}


def cosine(a: dict[str, float], b: dict[str, float]) -> float:
    """Return the product of two texts' vectors."""
    return math.fsum(value * b[word] for word, value in a.items() if word in b)


def _features(
    question: Question, place: int, asked: Stems, text: Stems, vector: dict[str, float], rare: Rarity
) -> list[float]:
    total = math.fsum(rare(word) for word in set(asked)) or 1.0
    sentences = [stems(sentence) for sentence in question.paragraphs[place]]
    scores = [bm25(asked, sentence, rare) / total for sentence in sentences] or [0.0]
    title = _title(question.titles[place])
    names = {stem for name in _CAPITAL.findall(question.question) for stem in stems(name)}
    numbers = {word for word in asked if word[0].isdigit()}
    start, length = longest_common(asked, text)
    pairs = set(pairwise(asked)) & set(pairwise(text))
    return [
        bm25(asked, text, rare) / total,
        max(scores),
        scores[0],
        cosine(tfidf(asked, rare), vector),
        math.fsum(rare(word) for word in set(asked) & set(text)) / total,
        math.fsum(rare(word) for word in set(title) & set(asked)) / (math.fsum(map(rare, set(title))) or 1.0),
        float(_within(title, asked)),
        math.fsum(map(rare, asked[start : start + length])) / total,
        math.fsum(rare(a) + rare(b) for a, b in pairs) / total,
        len(names & set(text)) / max(1, len(names)),
        len(numbers & set(text)) / max(1, len(numbers)),
        math.log1p(len(text)) / 5,
    ]


def _links(
    question: Question,
    i: int,
    j: int,
    asked: set[str],
    bodies: Sequence[Stems],
    vectors: Sequence[dict[str, float]],
    rare: Rarity,
) -> list[float]:
    titles = _title(question.titles[i]), _title(question.titles[j])
    both = set(bodies[i]) & set(bodies[j])
    total = math.fsum(map(rare, asked)) or 1.0
    said = set(titles[0]) & set(titles[1])
    most = math.log(rare.paragraphs + 1)
    return [
        float(_within(titles[0], bodies[j])),
        float(_within(titles[1], bodies[i])),
        cosine(vectors[i], vectors[j]),
        max((rare(word) for word in both - asked), default=0.0) / most,
        math.fsum(map(rare, said)) / (math.fsum(map(rare, set(titles[0]) | set(titles[1]))) or 1.0),
        math.fsum(rare(word) for word in (asked & set(bodies[i])) - set(bodies[j])) / total,
    ]


def _title(title: str) -> Stems:
    """Return the words of a title without what tells it from its namesakes."""
    return stems(re.sub(r"\s*\([^)]*\)\s*$", "", title)) or stems(title)


def _within(part: Stems, text: Stems) -> bool:
    return bool(part) and f" {' '.join(part)} " in f" {' '.join(text)} "

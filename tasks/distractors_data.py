"""bAbI stories hidden among unrelated sentences of WikiText-2, up to a wanted length.

As BABILong hides them in books (Kuratov et al. 2024, arXiv 2406.10149). A sentence is unrelated to a story if it
shares no word with the story and its question but those that name nothing, and has no pronoun that could
point at somebody in the story. So it says nothing of who and what is asked about. The answer is not looked at:
were the sentences that mention it left out, their absence would tell it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, pairwise

import torch
from structformer.datasets import Story
from structformer.datasets.stories import Words

_ARTICLE = re.compile(rb"(?<=\n) = [^=\n]+ = \n")
_SENTENCE_END = re.compile(r" [.?!;](?: |$)")
_SHORTEST, _LONGEST = 3, 40
_PRONOUNS = frozenset(("he", "she", "they", "it", "him", "her", "them"))
# Words of the stories that name neither a being, a thing, a place, a time, an act nor a quality.
# fmt: off
_NAMELESS = frozenset((
    "a", "after", "afterwards", "an", "and", "are", "did", "do", "does", "either", "following", "for", "from", "go",
    "how", "in", "is", "long", "longer", "many", "no", "not", "of", "or", "than", "that", "the", "then", "there",
    "this", "to", "was", "what", "where", "who", "why", "will", "with", "you",
))
# fmt: on


@dataclass(frozen=True)
class SentencePool:
    """Sentences to hide stories among.

    Attributes:
        sentences: The words of each sentence, all sentences different.
    """

    sentences: tuple[Words, ...]

    def __post_init__(self) -> None:
        if not self.sentences:
            raise ValueError("sentences is empty: at least 1 sentence is needed")

    @cached_property
    def shortest(self) -> int:
        """Words of the shortest sentence."""
        return min(map(len, self.sentences))

    @cached_property
    def longest(self) -> int:
        """Words of the longest sentence."""
        return max(map(len, self.sentences))


@dataclass(frozen=True)
class HiddenStory:
    """A story with distractors between its sentences.

    Attributes:
        story: All sentences, those of the story in their order; `supporting` has their new indices.
        is_distractor: For each sentence whether it is one.
    """

    story: Story
    is_distractor: tuple[bool, ...]

    @property
    def share(self) -> float:
        """Share of the sentences' words that belong to distractors."""
        lengths = [len(sentence) for sentence in self.story.sentences]
        return sum(length for length, far in zip(lengths, self.is_distractor, strict=True) if far) / sum(
            lengths
        )


def whole_articles(text: bytes, *shares: float) -> list[bytes]:
    """Cut a WikiText part where articles begin, into parts of about these shares of it, and what is left.

    Raises:
        ValueError: A share is not positive, or the text has too few articles.
    """
    if min(shares) <= 0 or sum(shares) >= 1:
        raise ValueError(f"shares must be positive and together below 1 (got {shares})")
    begins = [match.start() for match in _ARTICLE.finditer(text)]
    cuts = [0]
    for share in accumulate(shares):
        later = [begin for begin in begins if begin > max(cuts[-1], share * len(text))]
        if not later:
            raise ValueError(f"text has too few articles to be cut into {len(shares) + 1} parts")
        cuts.append(later[0])
    return [text[first:end] for first, end in pairwise([*cuts, len(text)])]


def sentence_pool(text: bytes, known: Collection[str] | None = None) -> SentencePool:
    """Take the sentences of a WikiText part that can stand for themselves, in lower case.

    Left out are headings, sentences with an unknown word or a pronoun, very short and very long ones. Training
    and test stories are hidden in different articles, so that no test distractor was trained on.

    Args:
        text: The text, as :func:`read_wikitext2` returns it.
        known: Take only sentences of these words, such as `frequent_words` of the training part; else a model
            could tell distractors by words it has never met.

    Raises:
        ValueError: No sentence is left.
    """
    allowed = None if known is None else frozenset(known)
    found: dict[Words, None] = {}
    for sentence in _sentences(text):
        if allowed is None or allowed.issuperset(sentence):
            found[sentence] = None
    return SentencePool(tuple(found))


def frequent_words(text: bytes, count: int) -> frozenset[str]:
    """Return the most frequent words of the sentences that could be in a pool.

    Raises:
        ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 (got {count})")
    counted = Counter(chain.from_iterable(_sentences(text)))
    return frozenset(word for word, _ in counted.most_common(count))


def named(story: Story) -> frozenset[str]:
    """Return the words of a story and its question that name something."""
    return frozenset(chain(story.question, *story.sentences)) - _NAMELESS


def tokens_for_share(story: Story, share: float) -> int:
    """Return the length at which distractors have about this share of the sentences' words.

    Raises:
        ValueError: `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be in [0, 1) (got {share})")
    question = len(story.question)
    return question + round((story.tokens - question) / (1 - share))


def hide(story: Story, pool: SentencePool, tokens: int, generator: torch.Generator) -> HiddenStory:
    """Hide a story among unrelated sentences of a pool, none taken twice.

    Sentences are drawn as long as one still fits, so that the result has at most `tokens` words, and hardly
    fewer. Where they stand is uniform, but for one thing: a sentence with a pronoun stays right behind
    the one before it, of which it speaks.

    Args:
        story: What to hide.
        pool: Where distractors come from.
        tokens: Words of all sentences and the question together.
        generator: Draws distractors and positions; the same state gives the same result.

    Raises:
        ValueError: The story alone is longer than `tokens`, or the pool has too few unrelated sentences.
    """
    if tokens < story.tokens:
        raise ValueError(f"tokens must be at least the story's own {story.tokens} (got {tokens})")
    distractors = _drawn(story, pool, tokens - story.tokens, generator)
    groups = _groups(story)
    total = len(groups) + len(distractors)
    slots = set(torch.randperm(total, generator=generator)[: len(groups)].tolist())
    ours, theirs = iter(groups), iter(distractors)
    sentences: list[Words] = []
    place: list[int] = []
    for slot in range(total):
        if slot in slots:
            group = next(ours)
            place += range(len(sentences), len(sentences) + len(group))
            sentences += group
        else:
            sentences.append(next(theirs))
    hidden = replace(
        story, sentences=tuple(sentences), supporting=tuple(place[index] for index in story.supporting)
    )
    own = set(place)
    return HiddenStory(hidden, tuple(index not in own for index in range(len(sentences))))


def _drawn(story: Story, pool: SentencePool, room: int, generator: torch.Generator) -> list[Words]:
    """Draw unrelated sentences that together fill the room."""
    names = named(story)
    drawn: list[Words] = []
    for index in torch.randperm(len(pool.sentences), generator=generator).tolist():
        if room < pool.shortest:
            break
        sentence = pool.sentences[index]
        if len(sentence) <= room and names.isdisjoint(sentence):
            drawn.append(sentence)
            room -= len(sentence)
    # With that much room left, every unrelated sentence was taken.
    if room >= pool.longest:
        raise ValueError(f"pool has too few sentences unrelated to the story: {room} words are missing")
    return drawn


def _groups(story: Story) -> list[list[Words]]:
    """Join a sentence with a pronoun to the one before it."""
    groups: list[list[Words]] = []
    for sentence in story.sentences:
        if groups and not _PRONOUNS.isdisjoint(sentence):
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
    return groups


def _sentences(text: bytes) -> list[Words]:
    found: list[Words] = []
    for line in text.decode().lower().split("\n"):
        if line.startswith(" ="):
            continue
        for part in _SENTENCE_END.split(line):
            sentence = tuple(part.split())
            wanted = _SHORTEST <= len(sentence) <= _LONGEST
            if wanted and "<unk>" not in sentence and _PRONOUNS.isdisjoint(sentence):
                found.append(sentence)
    return found

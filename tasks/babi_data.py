"""bAbI stories as numbers: vocabularies of words and answers, and stories packed into token sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from structformer.datasets import Story

from structformer.tokens import TokenSet


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers from 1 on; every word that is not among them has number 0.

    Attributes:
        words: Different words.
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """Number the different words among these in alphabetical order. Give it training text only."""
        return cls(tuple(sorted(set(words))))

    def __len__(self) -> int:
        return len(self.words) + 1

    def ids(self, words: Iterable[str]) -> list[int]:
        """Return the words' numbers."""
        return [self._number.get(word, 0) for word in words]

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Return the different words that have no number of their own, sorted."""
        return sorted(set(words) - self._number.keys())

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=1)}


def word_vocabulary(stories: Iterable[Story]) -> Vocabulary:
    """Number the words of sentences, questions and answers."""
    return Vocabulary.of(
        word
        for story in stories
        for part in (*story.sentences, story.question, answer_parts(story.answer))
        for word in part
    )


def rarity(stories: Iterable[Story], words: Vocabulary) -> tuple[float, ...]:
    """Return log (1 + n)/(1 + n_w) for each word, of n sentences and questions that are n_w with it; 0 for number 0."""
    told = [set(words.ids(part)) for story in stories for part in (*story.sentences, story.question)]
    count = Counter(word for part in told for word in part)
    return 0.0, *(math.log((1 + len(told)) / (1 + count[word])) for word in range(1, len(words)))


def answer_parts(answer: str) -> tuple[str, ...]:
    """Return the words of an answer: bAbI writes lists and paths with commas and no spaces."""
    return tuple(answer.split(","))


def answer_vocabulary(stories: Iterable[Story]) -> Vocabulary:
    """Number the answers. One that training never gave has number 0, which no model should ever say."""
    return Vocabulary.of(story.answer for story in stories)


def pack(stories: Sequence[Story], words: Vocabulary, answers: Vocabulary) -> TokenSet:
    """Pack stories into sets of words, sentence after sentence, and the question at the end.

    Returns:
        One set a story, with the words' numbers as `code [T]`, `token_sentence [T]` the index of a word's sentence
        (the question's is the number of sentences), `question_mask [T]`, `support_mask [T]`, `x [T, 0]`
        and `y [sets]` the answers' numbers.

    Raises:
        ValueError: There are no stories.
    """
    if not stories:
        raise ValueError("stories is empty: at least 1 story is needed")
    code: list[int] = []
    sentence: list[int] = []
    question: list[bool] = []
    support: list[bool] = []
    for story in stories:
        for index, part in enumerate((*story.sentences, story.question)):
            code += words.ids(part)
            sentence += [index] * len(part)
            question += [index == len(story.sentences)] * len(part)
            support += [index in story.supporting] * len(part)
    return TokenSet(
        x=torch.zeros(len(code), 0),
        ptr=torch.tensor([0, *(story.tokens for story in stories)]).cumsum(0),
        code=torch.tensor(code),
        y=torch.tensor(answers.ids(story.answer for story in stories)),
        token_sentence=torch.tensor(sentence),
        question_mask=torch.tensor(question),
        support_mask=torch.tensor(support),
    )

"""Questions about stories: sentences and questions as numbered words, packed into one TokenSet."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from sklearn.exceptions import NotFittedError

from structformer.tokens import TokenSet

Asked = tuple[list[str], str]
"""The sentences of a story, in order, and a question about it."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class QuestionTokenizer:
    """Numbers the words of stories and questions, in lower case and without punctuation.

    Word 0 is any that training did not hold; the others are numbered in alphabetical order.

    Attributes:
        words_: The words of the training stories, questions and answers, in order.
        rarity_: How much it says that two sentences share a word, for each number of a word: its inverse document
            frequency log (1 + n)/(1 + n_w), of n sentences and questions that are n_w with it; 0 for number 0.
    """

    def __init__(self) -> None:
        self.words_: tuple[str, ...] | None = None
        self.rarity_: tuple[float, ...] = ()

    def fit(self, X: Iterable[Any], answers: Iterable[str] = ()) -> QuestionTokenizer:
        """Learn the words.

        Args:
            X: Pairs of a story, a sequence of sentences, and a question.
            answers: Texts that may be answered.

        Raises:
            ValueError: There are no pairs, or one cannot be read; the message names it.
        """
        asked = read_asked(X)
        told = [set(words_of(text)) for story, question in asked for text in (*story, question)]
        count = Counter(word for words in told for word in words)
        self.words_ = tuple(sorted({*count, *(word for answer in answers for word in words_of(answer))}))
        self._number = {word: number for number, word in enumerate(self.words_, start=1)}
        self.rarity_ = (0.0, *(math.log((1 + len(told)) / (1 + count[word])) for word in self.words_))
        return self

    def transform(self, X: Iterable[Any]) -> TokenSet:
        """Return one set a story, its tokens the words, the question's at the end.

        Args:
            X: Pairs of a story and a question.

        Returns:
            `token_word [T]` the words' numbers, `token_sentence [T]` the place of each word's sentence in its story
            (that of the question is the number of sentences), and `x [T, 0]`.

        Raises:
            ValueError: There are no pairs, or one cannot be read; the message names it.
            NotFittedError: Before `fit`.
        """
        word: list[int] = []
        sentence: list[int] = []
        sizes: list[int] = []
        for story, question in read_asked(X):
            first = len(word)
            for place, text in enumerate((*story, question)):
                numbers = self.numbers(text)
                word += numbers
                sentence += [place] * len(numbers)
            sizes.append(len(word) - first)
        return TokenSet(
            x=torch.zeros(len(word), 0),
            ptr=torch.tensor([0, *sizes]).cumsum(0),
            token_word=torch.tensor(word),
            token_sentence=torch.tensor(sentence),
        )

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of a text's words.

        Raises:
            NotFittedError: Before `fit`.
        """
        if self.words_ is None:
            raise NotFittedError("this QuestionTokenizer is not fitted: call fit first")
        return [self._number.get(word, 0) for word in words_of(text)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"words": list(self.words_ or ()), "rarity": list(self.rarity_)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> QuestionTokenizer:
        """The inverse of `to_dict`."""
        tokenizer = cls()
        tokenizer.words_, tokenizer.rarity_ = tuple(state["words"]), tuple(state["rarity"])
        tokenizer._number = {word: number for number, word in enumerate(tokenizer.words_, start=1)}
        return tokenizer


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case; a text of signs alone is one word."""
    return _WORD.findall(text.lower()) or [text.strip()]


def read_asked(X: Iterable[Any]) -> list[Asked]:
    """Return stories with their questions, checked.

    Raises:
        ValueError: ``X`` is no sequence of pairs, is empty, or a text is none or has no words.
    """
    if isinstance(X, str | Mapping) or not isinstance(X, Iterable):
        raise ValueError(f"X must be pairs of a story and a question (got {type(X).__name__})")
    asked: list[Asked] = []
    for number, pair in enumerate(X):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ValueError(f"X must be pairs of a story and a question (entry {number} is {_short(pair)})")
        story, question = pair
        if isinstance(story, str) or not isinstance(story, Iterable):
            raise ValueError(
                f"a story must be a list of sentences (that of entry {number} is {_short(story)})"
            )
        sentences = list(story)
        for text in (*sentences, question):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"sentences and questions must be texts (entry {number} has {_short(text)})")
        asked.append((sentences, question))
    if not asked:
        raise ValueError("X must hold at least one story with a question (got none)")
    return asked


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:59]}…"

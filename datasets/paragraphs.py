"""HotpotQA: questions that need two paragraphs, each with ten that a search found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .store import read


@dataclass(frozen=True)
class Question:
    """A question with its paragraphs.

    Attributes:
        name: Its identifier.
        question: What is asked.
        answer: What is right.
        titles: Of the paragraphs.
        paragraphs: Their sentences.
        supporting: Indices of the paragraphs that the answer follows from, two if both were found.
    """

    name: str
    question: str
    answer: str
    titles: tuple[str, ...]
    paragraphs: tuple[tuple[str, ...], ...]
    supporting: tuple[int, ...]


def hotpotqa() -> tuple[Question, ...]:
    """Return 500 questions of Yang et al. 2018 (arXiv 1809.09600), in the order of the file.

    Raises:
        FileNotFoundError: If they were not downloaded.
        ValueError: If the file is damaged.
    """
    (content,) = read("hotpotqa").values()
    return tuple(_question(json.loads(line)) for line in content.splitlines())


def _question(given: dict[str, Any]) -> Question:
    titles = tuple(title for title, _ in given["context"])
    needed = {title for title, _ in given["supporting_facts"]}
    return Question(
        given["_id"],
        given["question"],
        given["answer"],
        titles,
        tuple(tuple(sentences) for _, sentences in given["context"]),
        tuple(index for index, title in enumerate(titles) if title in needed),
    )

"""The questions of HotpotQA in folds: which are learned from, which are asked, and their paragraphs in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from structformer.datasets import Question, hotpotqa

from .evidence_data import Evidence, evidence, rarity
from .sweeps import VALIDATION, generator


@dataclass(frozen=True, eq=False)
class Item:
    """A question as text and as figures."""

    question: Question
    figures: Evidence


@dataclass(frozen=True, eq=False)
class Division:
    """One fold to test on, and the others to train on; how many questions there are in all."""

    learned: tuple[Item, ...]
    tested: tuple[Item, ...]
    questions: int


@lru_cache(maxsize=8)
def division(number: int | None, folds: int, seed: int, fold: int) -> Division:
    """Return one fold of a division of the questions.

    Raises:
        FileNotFoundError: If the data is not there.
    """
    questions = [one for one in hotpotqa() if one.supporting and len(one.titles) > 2][:number]
    order = torch.randperm(len(questions), generator=generator(VALIDATION, seed)).tolist()
    chosen = set(order[fold::folds])
    others = [questions[place] for place in order if place not in chosen]
    rare = rarity(others)
    parts = [
        tuple(Item(one, evidence(one, rare)) for one in some)
        for some in (others, [questions[place] for place in order[fold::folds]])
    ]
    return Division(*parts, len(questions))


def texts(question: Question) -> list[str]:
    """Return a question's paragraphs as texts, titles first."""
    return [
        f"{title}. {' '.join(sentences)}"
        for title, sentences in zip(question.titles, question.paragraphs, strict=True)
    ]


def shuffles(items: Sequence[Item], *numbers: int) -> list[np.ndarray]:
    """Return an order of the paragraphs of each question."""
    drawn = generator(*numbers)
    return [torch.randperm(len(item.question.titles), generator=drawn).numpy() for item in items]

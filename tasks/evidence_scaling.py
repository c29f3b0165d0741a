"""Figures of paragraphs brought to one scale, and set beside those of the other paragraphs of their question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .evidence_data import NAMING, Evidence

_PIECES = 8


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and spread of figures, from training questions.

    Attributes:
        mean: Of each figure, those within the question included.
        spread: Of the same.
        links: Mean and spread of the pairs' figures.
        bins: Edges of the pieces of each scaled figure's embedding.
    """

    mean: Float[np.ndarray, "figures"]
    spread: Float[np.ndarray, "figures"]
    links: tuple[np.ndarray, np.ndarray]
    bins: list[list[float]]

    @classmethod
    def of(cls, questions: Sequence[Evidence]) -> Scaling:
        """Learn from training questions."""
        rows = np.concatenate([within(one) for one in questions])
        pairs = np.concatenate([one.links[~np.eye(len(one.x), dtype=bool)] for one in questions])
        mean, spread = rows.mean(0), rows.std(0) + 1e-6
        # Who names whom stays as it is: 0 says that there is no such link.
        away, wide = pairs.mean(0), pairs.std(0) + 1e-6
        away[NAMING], wide[NAMING] = 0.0, 1.0
        shares = np.linspace(0, 1, _PIECES + 1)
        edges = [np.unique(np.quantile(column, shares)) for column in ((rows - mean) / spread).T]
        bins = [edge.tolist() if len(edge) > 2 else [] for edge in edges]
        return cls(mean, spread, (away, wide), bins)

    def __call__(self, question: Evidence) -> Evidence:
        """Return the question with scaled figures."""
        mean, spread = self.links
        return replace(
            question, x=(within(question) - self.mean) / self.spread, links=(question.links - mean) / spread
        )


def within(question: Evidence) -> Float[np.ndarray, "paragraphs figures"]:
    """Return the figures, and by how much each falls short of the question's best."""
    return np.concatenate([question.x, question.x - question.x.max(0)], axis=1)


def with_links(question: Evidence) -> Float[np.ndarray, "paragraphs figures"]:
    """Return the figures with those of a paragraph's links: the largest, as they are and times the other's BM25."""
    strength = question.x[:, 0] / max(1e-6, float(question.x[:, 0].max()))
    largest = question.links.max(1)
    weighed = (question.links * strength[None, :, None]).max(1)
    return np.concatenate([within(question), largest, weighed], axis=1)

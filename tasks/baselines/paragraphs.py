"""Rivals that rank paragraphs without a network: TF-IDF, BM25, and overlap by linear models and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Table = Float[np.ndarray, "paragraphs features"]


class TfidfRanker:
    """Ranks paragraphs by the cosine of their TF-IDF vectors with the question's.

    Args:
        texts: Paragraphs to learn from how rare words are.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.vectors = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit(texts)

    def scores(self, question: str, paragraphs: Sequence[str]) -> np.ndarray:
        """Return a score of each paragraph."""
        asked = self.vectors.transform([question])
        return (self.vectors.transform(paragraphs) @ asked.T).toarray()[:, 0]


class OverlapRanker:
    """Ranks paragraphs by figures of their overlap with the question.

    Args:
        name: "linear" or "boosted".
        strength: Inverse strength of the linear model's penalty.
        rate: Learning rate of the trees.
        trees: How many.
        leaves: Of a tree.
        seed: Of what is drawn at random.

    Raises:
        ValueError: If there is none of that name.
    """

    def __init__(
        self,
        name: str,
        strength: float = 0.1,
        rate: float = 0.05,
        trees: int = 100,
        leaves: int = 7,
        seed: int = 0,
    ) -> None:
        if name == "linear":
            self.model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1_000))
        elif name == "boosted":
            self.model = HistGradientBoostingClassifier(
                learning_rate=rate,
                max_iter=trees,
                max_leaf_nodes=leaves,
                early_stopping=False,
                random_state=seed,
            )
        else:
            raise ValueError(f"name must be linear or boosted (got {name!r})")

    def fit(self, x: Table, supporting: np.ndarray) -> OverlapRanker:
        """Learn which paragraphs are needed."""
        self.model.fit(x, supporting)
        return self

    def scores(self, x: Table) -> np.ndarray:
        """Return a score of each paragraph."""
        return self.model.predict_proba(x)[:, 1]

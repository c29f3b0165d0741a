"""Rivals that judge statements without a network: bags of words, and facts by linear models and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

NAMES = ("majority", "words", "words and facts", "boosted facts")
MOST_TREES = 300


@dataclass(frozen=True)
class Statements:
    """What these rivals see.

    Attributes:
        texts: Stems of each statement, with blanks between.
        facts: One row a statement.
    """

    texts: Sequence[str]
    facts: np.ndarray


class StatementClassifier:
    """One of `NAMES`.

    Args:
        name: Which.
        strength: Inverse strength of the penalty of linear models.
        rate: Learning rate of the trees.
        leaves: Leaves of a tree.
        seed: Of what is drawn at random.

    Raises:
        ValueError: If there is none of that name.
    """

    def __init__(
        self, name: str, strength: float = 0.01, rate: float = 0.05, leaves: int = 15, seed: int = 0
    ) -> None:
        if name not in NAMES:
            raise ValueError(f"name must be one of {', '.join(NAMES)} (got {name!r})")
        self.name = name
        self.words = CountVectorizer(
            token_pattern=r"\S+", ngram_range=(1, 2), min_df=5, binary=True, dtype=np.float64
        )
        self.scale = StandardScaler()
        self.model: ClassifierMixin
        if name == "majority":
            self.model = DummyClassifier(strategy="most_frequent")
        elif name == "boosted facts":
            self.model = HistGradientBoostingClassifier(
                learning_rate=rate,
                max_leaf_nodes=leaves,
                max_iter=MOST_TREES,
                early_stopping=False,
                random_state=seed,
            )
        else:
            self.model = LogisticRegression(C=strength, max_iter=2_000)

    def fit(
        self, data: Statements, labels: np.ndarray, validation: Statements, validation_labels: np.ndarray
    ) -> StatementClassifier:
        """Train; the number of trees is chosen by the validation data."""
        x = self._features(data, fit=True)
        self.model.fit(x, labels)
        if isinstance(self.model, HistGradientBoostingClassifier):
            stages = self.model.staged_predict(self._features(validation))
            right = [float((stage == validation_labels).mean()) for stage in stages]
            self.trees = int(np.argmax(right)) + 1
        return self

    def predict_proba(self, data: Statements) -> np.ndarray:
        """Return the probability that each statement is true."""
        x = self._features(data)
        if isinstance(self.model, HistGradientBoostingClassifier):
            return next(islice(self.model.staged_predict_proba(x), self.trees - 1, None))[:, 1]
        return self.model.predict_proba(x)[:, 1]

    def _features(self, data: Statements, fit: bool = False) -> np.ndarray | sparse.csr_matrix:
        if self.name == "majority":
            return np.zeros((len(data.texts), 1))
        if self.name == "boosted facts":
            return data.facts
        words = self.words.fit_transform(data.texts) if fit else self.words.transform(data.texts)
        if self.name == "words":
            return words
        facts = self.scale.fit_transform(data.facts) if fit else self.scale.transform(data.facts)
        return sparse.hstack([words, sparse.csr_matrix(facts)], format="csr")

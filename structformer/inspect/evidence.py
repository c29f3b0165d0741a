"""What an answer rests on: a story's sentences, how much each counted, and which listened to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from structformer.graph import TokenGraph
from structformer.inspect.colours import plain


@dataclass(frozen=True, eq=False)
class Evidence:
    """A question about a story, the answer given, and what it rests on.

    Attributes:
        sentences: The story, in order.
        question: What was asked.
        answer: What was answered.
        weights: How much each sentence counted, not negative; a further last entry, which some models give
            the question itself, is not shown.
        graph: Which sentences listened to which, its earlier steps included. Its tokens are the sentences,
            or the sentences and then the question.
        expected: The right answer, where it is known.
        supporting: Places of the sentences that are known to hold the answer, counted from 0.

    Raises:
        ValueError: There are no sentences, the weights, the graph or ``supporting`` do not fit them, or a
            weight is negative or not finite.
    """

    sentences: Sequence[str]
    question: str
    answer: str
    weights: Any
    graph: TokenGraph | None = None
    expected: str | None = None
    supporting: Sequence[int] = ()

    def __post_init__(self) -> None:
        count = len(self.sentences)
        if count == 0:
            raise ValueError("sentences must hold at least one sentence (got none)")
        weights = np.array(plain(self.weights, 0), dtype=np.float64)
        if len(weights) not in (count, count + 1):
            raise ValueError(f"weights must have {count} entries, one for each sentence (got {len(weights)})")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"weights must be finite and not negative (got {weights.tolist()})")
        object.__setattr__(self, "weights", weights[:count])
        wrong = [place for place in self.supporting if not 0 <= place < count]
        if wrong:
            raise ValueError(f"supporting must be places 0 to {count - 1} (got {wrong})")
        graph = self.graph
        if graph is not None and (graph.is_bipartite or graph.num_targets not in (count, count + 1)):
            raise ValueError(
                f"graph must be over the {count} sentences, or these and the question (got {graph!r})"
            )

    @property
    def asks(self) -> bool:
        """Whether the question is a token of the graph."""
        return self.graph is not None and self.graph.num_targets > len(self.sentences)

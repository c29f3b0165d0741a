"""The evidence view of a report: a story's sentences with their weights, and who listened to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from structformer.graph import TokenGraph
from structformer.inspect.colours import shorten
from structformer.inspect.evidence import Evidence
from structformer.inspect.inside import Reasoning
from structformer.inspect.picture import edges_by_step, listened
from structformer.inspect.section import Section
from structformer.inspect.selection import Selection

_MOST_EDGES = 4000
_MOST_CHARACTERS = 600


def evidence_section(
    sentences: Sequence[str],
    question: str,
    answer: str,
    evidence: Any,
    graph: TokenGraph | None = None,
    *,
    expected: str | None = None,
    supporting: Sequence[int] = (),
    reasoning: Reasoning | None = None,
    title: str = "Evidence",
    text: str = "",
) -> Section:
    """Describe what an answer rests on: the story with how much each sentence counted, and its learned graph.

    Args:
        sentences: The story, in order.
        question: What was asked.
        answer: What was answered.
        evidence: `[sentences]` how much each counted, as `TextQA` returns it; a further last entry, that of
            the question, is not shown.
        graph: The learned graph over the sentences, or over these and the question as the last token. Of
            what `TextQA` returns for one story it is ``graphs[-1].with_steps(graphs[:-1])``.
        expected: The right answer, where it is known.
        supporting: Places of the sentences that are known to hold the answer, counted from 0.
        reasoning: What went on inside the model, as `reasoning` returns it for a `TextQA`.
        title: Heading.
        text: Paragraphs below it.

    Raises:
        ValueError: There are no sentences, or ``evidence``, ``graph`` or ``supporting`` do not fit them.

    Examples:
        >>> import structformer.inspect
        >>> story = ["Mary took the ball.", "Mary went to the park."]
        >>> section = structformer.inspect.evidence_section(story, "Where is the ball?", "park", [0.3, 0.7])
        >>> "Where is the ball?" in structformer.inspect.render_report("A question", [section])
        True
    """
    shown = Evidence(sentences, question, answer, evidence, graph, expected, supporting)
    return Section(title, text, evidence=shown, reasoning=reasoning, token="sentence")


def evidence_view(evidence: Evidence) -> dict[str, Any]:
    """Return everything the page needs to show ``evidence``, as plain JSON values.

    Sentences have their ``share`` of the largest weight, for the bars. Edges are those between two different
    tokens, of each step the strongest first, as in `graph_picture`.
    """
    weights = np.asarray(evidence.weights)
    largest = float(weights.max()) or 1.0
    supporting = set(evidence.supporting)
    view: dict[str, Any] = {
        "question": evidence.question,
        "answer": evidence.answer,
        "expected": evidence.expected,
        "right": evidence.expected is None or evidence.expected == evidence.answer,
        "asks": evidence.asks,
        "marked": bool(supporting),
        "sentences": [
            {
                "text": shorten(sentence, _MOST_CHARACTERS),
                "weight": f"{weight:.3f}",
                "share": round(float(weight) / largest, 4),
                "supports": place in supporting,
            }
            for place, (sentence, weight) in enumerate(zip(evidence.sentences, weights, strict=True))
        ],
        "steps": [],
        "listened": None,
    }
    if evidence.graph is not None:
        count = evidence.graph.num_targets
        everyone = Selection(np.arange(count), np.zeros(0, dtype=np.int64), [0, count])
        view["steps"] = edges_by_step(evidence.graph.by(), everyone, _MOST_EDGES)
        view["listened"] = listened(evidence.graph, everyone, _MOST_EDGES)
    return view

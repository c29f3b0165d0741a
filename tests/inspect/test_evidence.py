from __future__ import annotations

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect.evidence import Evidence

STORY = ["Mary took the ball.", "Mary went to the park.", "John slept."]
GRAPH = TokenGraph.from_edge_index(torch.tensor([[0, 1, 2], [1, 3, 3]]), 4)
SMALL = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 2)
BIPARTITE = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 3, num_sources=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sentences": []}, "sentences must hold at least one sentence"),
        ({"weights": [0.5, 0.5]}, r"weights must have 3 entries, one for each sentence \(got 2\)"),
        ({"weights": [0.5, 0.6, -0.1]}, "weights must be finite and not negative"),
        ({"weights": [0.5, None, 0.5]}, "weights must be finite and not negative"),
        ({"graph": SMALL}, r"graph must be over the 3 sentences, .* \(got TokenGraph\(2 tokens"),
        ({"graph": BIPARTITE}, "graph must be over the 3 sentences"),
        ({"supporting": [3]}, r"supporting must be places 0 to 2 \(got \[3\]\)"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    story = {
        "sentences": STORY,
        "question": "Where is the ball?",
        "answer": "park",
        "weights": [0.2, 0.7, 0.1],
    }
    with pytest.raises(ValueError, match=message):
        Evidence(**(story | fields))


@pytest.mark.parametrize(
    "weights",
    [
        [0.25, 0.5, 0.25],
        np.array([0.25, 0.5, 0.25, 0.0]),
        torch.tensor([0.25, 0.5, 0.25, 0.0], requires_grad=True),
    ],
)
def test_weights_may_have_one_for_the_question(weights):
    evidence = Evidence(STORY, "Where is the ball?", "park", weights)
    np.testing.assert_array_equal(evidence.weights, [0.25, 0.5, 0.25])
    assert not evidence.asks


def test_the_question_may_be_a_token_of_the_graph():
    assert Evidence(STORY, "Where?", "park", [1, 0, 0], GRAPH).asks

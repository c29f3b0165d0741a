from __future__ import annotations

import re

import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import evidence_section, render_report
from structformer.inspect.evidence import Evidence
from structformer.inspect.report_evidence import evidence_view
from structformer.models.text_qa import TextQA, TextQAConfig

STORY = ["Mary took the ball.", "Mary <b>went</b> to the park.", "John slept."]


def graph() -> TokenGraph:
    """Sentence 1 listens to 0, the question (3) to 1 and 0; every token listens to itself."""
    edges = torch.tensor([[0, 1, 0, 0, 1, 2, 3], [1, 3, 3, 0, 1, 2, 3]])
    return TokenGraph.from_edge_index(edges, 4, torch.tensor([0.4, 0.7, 0.2, 1, 0.6, 1, 0.1]))


def test_the_view_has_sentences_in_order_and_edges_by_weight():
    view = evidence_view(Evidence(STORY, "Where?", "park", [0.2, 0.5, 0.3, 0.0], graph(), "garden", [1]))
    assert [sentence["text"] for sentence in view["sentences"]] == STORY
    assert [sentence["share"] for sentence in view["sentences"]] == [0.4, 1.0, 0.6]
    assert [sentence["supports"] for sentence in view["sentences"]] == [False, True, False]
    (step,) = view["steps"]
    assert list(zip(step["target"], step["source"], strict=True)) == [(3, 1), (1, 0), (3, 0)]
    assert view["right"] is False


def test_no_weight_at_all_is_no_bar():
    view = evidence_view(Evidence(STORY, "Where?", "park", [0, 0, 0]))
    assert [sentence["share"] for sentence in view["sentences"]] == [0, 0, 0]
    assert view["steps"] == []


@pytest.mark.parametrize(("expected", "said"), [("park", "as expected"), ("garden", "expected: garden")])
def test_the_page_says_what_was_asked_answered_and_expected(expected, said):
    section = evidence_section(
        STORY,
        "Where is it?",
        "park",
        [0.2, 0.5, 0.3],
        graph(),
        expected=expected,
        supporting=[1],
        text="Why?",
    )
    page = render_report("a", [section])
    for text in ("Where is it?", "<strong>park</strong>", said, "needed", "Why?", "effective degree"):
        assert text in page
    assert "&lt;b&gt;went" in page
    assert "<b>went" not in page


def test_without_a_graph_there_is_nothing_to_choose():
    page = render_report("a", [evidence_section(STORY, "Where?", "park", [0.2, 0.5, 0.3])])
    assert "<input" not in page
    assert "expected:" not in page
    assert len(re.findall("<li ", page)) == 3


def test_an_answer_of_a_model_goes_in_as_it_comes():
    model = TextQA(TextQAConfig(width=16, steps=2, vocabulary=20, answers=((8,), (9,)))).eval()
    found = model(
        torch.tensor([1, 2, 3, 4, 5, 6, 7]), torch.tensor([0, 7]), torch.tensor([0, 0, 0, 1, 1, 2, 2])
    )
    section = evidence_section(["a b c", "d e"], "f g?", "h", found.evidence, found.encoded.graphs[-1])
    assert section.evidence is not None
    assert section.evidence.asks
    assert "f g?" in render_report("a", [section])

import re
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.graph.colours import colouring
from structformer.graph.svg import MOST_HEIGHT, MOST_TOKENS, WIDTH, picture

SVG = "{http://www.w3.org/2000/svg}"


def drawn(graph: TokenGraph) -> tuple[ElementTree.Element, str]:
    markup, note = picture(graph, colouring(graph))
    return ElementTree.fromstring(markup), note


def test_there_is_no_picture_of_nothing_and_one_of_a_single_token():
    nothing = torch.zeros(2, 0, dtype=torch.long)
    empty = TokenGraph.from_edge_index(nothing, 0)
    assert picture(empty, colouring(empty)) == ("", "")
    one, note = drawn(TokenGraph.from_edge_index(nothing, 1))
    assert len(one.findall(f".//{SVG}circle")) == 1
    assert "1 token." in note


@settings(deadline=None, max_examples=15)
@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_any_name_and_label_gives_markup_that_can_be_read(name: str, label: str):
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, names=[name, "b", "c"])
    graph.labels = [label, "other", None]
    root, note = drawn(graph)
    assert len(root.findall(f".//{SVG}circle")) == 3
    ElementTree.fromstring(f"<p>{note}</p>")


def test_all_nodes_are_on_the_page(random_graph):
    root, _ = drawn(random_graph(29, edges=61))
    height = float(root.get("height"))
    assert height <= MOST_HEIGHT
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx")) <= WIDTH
        assert 0 <= float(circle.get("cy")) <= height


def test_stronger_edges_are_thicker_lines():
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    root, note = drawn(TokenGraph.from_edge_index(edges, 4, torch.tensor([0.1, 0.5, 0.9])))
    widths = [float(line.get("stroke-width")) for line in root.iter(f"{SVG}path")]
    assert len(set(widths)) == 3
    assert "the thicker a line, the greater the weight" in note


@pytest.mark.parametrize("labels", [None, [i % 3 for i in range(99)], [i / 7 for i in range(99)]])
def test_a_large_graph_is_discs_that_say_what_they_stand_for(labels):
    pairs = torch.combinations(torch.arange(33)).T
    edges = torch.cat([pairs, pairs + 33, pairs + 66], dim=1)
    graph = TokenGraph.from_edge_index(edges, 99)
    assert graph.num_tokens > MOST_TOKENS
    graph.labels = labels
    root, note = drawn(graph)
    assert len(root.findall(f".//{SVG}g/{SVG}title")) == 3
    assert "3 communities of 99 tokens" in note
    assert bool(re.search("Labels", note)) == (labels is not None)

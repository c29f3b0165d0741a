import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.graph import html as graph_html

EVIL = "<script>alert('x')</script>"


def parsed(html: str) -> ET.Element:
    """The block as a tree: a text that broke out of its place would break it."""
    return ET.fromstring(html)


def texts(html: str) -> list[str]:
    return [text.strip() for text in parsed(html).itertext() if text.strip()]


def circles(html: str) -> int:
    return html.count("<circle")


def blocks(size: int = 40, count: int = 5) -> TokenGraph:
    return TokenGraph.from_networkx(nx.disjoint_union_all([nx.complete_graph(size)] * count))


def test_statistics_and_strongest_edges_by_name():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 1, 1]])
    before = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.1, 0.9, 0.3, 0.2]), names=["x", "y", "z"])
    graph = before.with_weight(torch.tensor([0.5, 0.25, 0.0, 0.75])).with_steps([before])
    graph.labels, graph.given = ["a", "a", "b"], torch.tensor([True, False, True, False])
    said = texts(graph._repr_html_())
    summary = dict(pairwise(said))
    for name, value in graph.summary().rows():
        assert summary[name] == value
    assert summary["given edges"] == "2"
    start = said.index("Strongest edges")
    weights = graph.to_frame().query("step == 2 and source != target").sort_values("weight", ascending=False)
    expected = [(row.target_name, row.source_name, f"{row.weight:.3g}") for row in weights.itertuples()]
    assert said[start + 4 : start + 4 + 3 * len(expected)] == [cell for row in expected for cell in row]


def test_every_token_of_a_small_graph_is_drawn_and_named_when_pointed_at():
    graph = TokenGraph.from_networkx(nx.les_miserables_graph())
    html = graph._repr_html_()
    assert circles(html) == 77
    titles = {element.text for element in parsed(html).iter() if element.tag.endswith("title")}
    assert titles == set(graph.names or [])
    assert 'role="img"' in html
    assert 'aria-label="Picture of the graph: 77 tokens' in html


def test_a_large_graph_is_drawn_by_community():
    graph = blocks()
    html = graph._repr_html_()
    assert circles(html) == 5
    assert "Shown: 5 communities of 200 tokens." in " ".join(texts(html))
    graph.labels = ["a", "b"] * 100
    assert circles(graph._repr_html_()) == 0
    graph.labels = np.linspace(0, 1, 200)
    assert circles(graph._repr_html_()) == 5


@pytest.mark.parametrize("field", ["names", "labels"])
@pytest.mark.parametrize("tokens", [5, 200])
def test_names_and_labels_are_escaped(field: str, tokens: int):
    graph = TokenGraph.from_networkx(nx.complete_graph(tokens))
    setattr(
        graph,
        field,
        [EVIL, '"><img src=x onerror=alert(1)>', "a & b", "\x00\x1b\ud800", "</svg>"] * (tokens // 5),
    )
    html = graph._repr_html_()
    tags = {element.tag.split("}")[-1] for element in parsed(html).iter()}
    assert not tags & {"script", "img"}
    assert "&lt;" in html
    html.encode()


def test_sources_are_escaped_too():
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [0]]), 1, num_sources=2, names=[EVIL])
    graph.source_names = graph.source_labels = [EVIL, "b"]
    assert "<script" not in graph._repr_html_()


@pytest.mark.parametrize("name", ["n" * 500, '"' * 500, "名" * 500, "<&>" * 200])
def test_the_block_stays_small(name: str):
    drawn = nx.gnm_random_graph(80, 1500, seed=0)
    graph = TokenGraph.from_networkx(drawn)
    graph.names, graph.labels = [f"{i}{name}" for i in range(80)], [f"{i}{name}" for i in range(80)]
    assert len(graph._repr_html_().encode()) < 30_000


def test_it_reaches_for_nothing_outside():
    html = blocks()._repr_html_()
    assert "<script" not in html
    assert "src=" not in html
    assert "url(" not in html
    assert html.count("http") == html.count('xmlns="http://www.w3.org/2000/svg"')


def odd_graphs() -> dict[str, TokenGraph]:
    """Graphs that nobody would build, and some that only look odd."""
    nothing = torch.empty(2, 0, dtype=torch.long)
    edges = torch.tensor([[0, 1, 2], [1, 2, 2]])
    plain = TokenGraph.from_edge_index(edges, 3, torch.rand(3))
    wrong = TokenGraph.from_edge_index(edges, 3)
    wrong.names, wrong.labels, wrong.earlier = ["only one"], [1, 2], (TokenGraph.from_edge_index(nothing, 2),)
    unknown = TokenGraph.from_edge_index(edges, 3)
    unknown.labels = [None, float("nan"), -1]
    mixed = TokenGraph.from_edge_index(edges, 3)
    mixed.labels, mixed.names = [True, "x", 2.5], ["", " ", "\n"]
    meta = plain.to("meta")
    return {
        "no tokens": TokenGraph.from_edge_index(nothing, 0),
        "no edges": TokenGraph.from_edge_index(nothing, 5),
        "many alone": TokenGraph.from_edge_index(nothing, 500),
        "one token": TokenGraph.from_edge_index(torch.tensor([[0], [0]]), 1),
        "no sources": TokenGraph.from_edge_index(nothing, 3, num_sources=0),
        "no targets": TokenGraph.from_edge_index(nothing, 0, num_sources=3),
        "bipartite": TokenGraph.from_edge_index(edges, 3, num_sources=7),
        "many sets": TokenGraph.from_edge_index(nothing, 50, ptr=torch.arange(51)),
        "empty sets": TokenGraph.from_edge_index(nothing, 2, ptr=torch.tensor([0, 0, 2, 2])),
        "meta": meta,
        "meta weight": plain.with_weight(torch.rand(3, 2, device="meta")),
        "nan": plain.with_weight(torch.tensor([1.0, float("nan"), 2.0])),
        "zero": plain.with_weight(torch.zeros(3)),
        "negative": plain.with_weight(torch.tensor([-1.0, -2.0, 3.0])),
        "gradient": plain.with_weight(torch.rand(3, 2, requires_grad=True)),
        "half": plain.with_weight(torch.rand(3, dtype=torch.bfloat16)),
        "no heads": plain.with_weight(torch.rand(3, 0)),
        "misfits": wrong,
        "unknown labels": unknown,
        "mixed labels": mixed,
    }


@pytest.mark.parametrize("name", odd_graphs())
def test_odd_graphs_are_shown(name: str):
    html = odd_graphs()[name]._repr_html_()
    assert texts(html)[0] == "TokenGraph"
    assert "nan" not in " ".join(texts(html)).lower().replace("unknown", "")


def test_beyond_a_size_there_is_no_picture(monkeypatch: Any):
    monkeypatch.setattr(graph_html, "MOST_DRAWN", 10)
    html = blocks()._repr_html_()
    assert "<svg" not in html
    assert "plot() draws it" in html

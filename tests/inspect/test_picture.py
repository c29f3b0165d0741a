from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section
from structformer.inspect.picture import Limits, graph_picture


def star() -> TokenGraph:
    """0, 1 and 3 listen to 2, ever more strongly; 2 listens to itself."""
    edges = torch.tensor([[2, 2, 2, 2], [0, 1, 2, 3]])
    names = ["ann", "bob", "cleo", "dan"]
    return TokenGraph.from_edge_index(edges, 4, torch.tensor([0.1, 0.2, 1.0, 0.3]), names=names)


def test_edges_name_their_ends_strongest_first():
    graph = star()
    first = graph.with_weight(torch.tensor([0.3, 0.0, 1.0, 0.1]))
    picture = graph_picture(Section("a", graph=graph.with_steps([first])))
    early, late = picture["steps"]
    ends = [
        (picture["names"][j], picture["names"][i])
        for j, i in zip(late["source"], late["target"], strict=True)
    ]
    assert ends == [("cleo", "dan"), ("cleo", "bob"), ("cleo", "ann")]
    assert late["weight"] == [0.3, 0.2, 0.1]
    assert early["weight"] == [0.3, 0.1]
    assert late["total"] == 3
    json.dumps(picture, allow_nan=False)


def test_edges_beyond_the_limit_are_counted():
    picture = graph_picture(Section("a", graph=star()), Limits(edges=2))
    assert picture["steps"][0]["weight"] == [0.3, 0.2]
    assert picture["steps"][0]["total"] == 3


def test_colours_data_and_rings():
    section = Section(
        "a",
        graph=star(),
        colours={
            "label": ["x", "y", None, "y"],
            "prediction": ["y", "y", "x", "y"],
            "height": [0.5, 1, 2, 3],
        },
        data=pd.DataFrame({"age": [30.0, 1 / 3, 50, 60], "note": ["a" * 100, "b", "c", "d"]}),
    )
    picture = graph_picture(section)
    assert [colour["kind"] for colour in picture["colours"]] == ["classes", "classes", "scale"]
    assert picture["ringed"] == [0]
    assert picture["fields"] == [["age", "note"], []]
    assert picture["data"][1] == ["0.333333", "b"]
    assert len(picture["data"][0][1]) == 60
    fewer = graph_picture(section, Limits(fields=1))
    assert (fewer["fields"], fewer["data"][1]) == ([["age"], []], ["0.333333"])


def test_both_sides_of_a_bipartite_graph():
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 4], [0, 1]]), 2, num_sources=5)
    graph.source_names = list("vwxyz")
    section = Section(
        "a",
        graph=graph,
        colours={"label": ["p", "q"]},
        source_colours={"label": list("pqqqp")},
        source_data=pd.DataFrame({"k": range(5)}),
        token="row",
    )
    picture = graph_picture(section)
    assert picture["names"] == ["row 0", "row 1", "v", "z"]
    assert picture["targets"] == 2
    assert picture["fields"] == [[], ["k"]]
    assert picture["data"] == [[], [], ["0"], ["4"]]
    assert picture["colours"][0]["value"] == [0, 1, 0, 0]
    assert sorted(zip(picture["steps"][0]["source"], picture["steps"][0]["target"], strict=True)) == [
        (2, 0),
        (3, 1),
    ]


def test_sets_have_cells_and_captions():
    ptr = torch.tensor([0, 3, 5, 10])
    edges = torch.tensor([[0, 3, 5], [1, 4, 9]])
    section = Section("a", graph=TokenGraph.from_edge_index(edges, 10, ptr=ptr), set_names=["p", "q", "r"])
    picture = graph_picture(section)
    assert picture["captions"] == ["p", "q", "r"]
    assert picture["cell"] == [0] * 3 + [1] * 2 + [2] * 5
    assert not picture["stretch"]
    # Each set fills a square of its own.
    assert all(max(picture["x"][start:end]) > 0.9 for start, end in ((0, 3), (3, 5), (5, 10)))


def test_positions_keep_their_proportions():
    positions = np.array([[0, 0], [8, 0], [8, 4], [0, 4]])
    picture = graph_picture(Section("a", graph=star(), positions=positions))
    assert picture["x"] == [0, 1, 1, 0]
    assert picture["y"] == [0.25, 0.25, 0.75, 0.75]
    assert not picture["stretch"]
    assert picture["captions"] == picture["cell"] == []


def test_no_graph_no_picture():
    with pytest.raises(ValueError, match="section 'a' has no graph"):
        graph_picture(Section("a"))

import math
import os
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph

WRITERS = {
    ".parquet": TokenGraph.to_parquet,
    ".graphml": TokenGraph.to_graphml,
    ".gexf": TokenGraph.to_gexf,
}


@pytest.fixture
def learned(random_graph) -> TokenGraph:
    """Two steps, the last with heads, marks, names, labels and sets."""
    before = random_graph(seed=1)
    graph = random_graph(heads=3).with_steps([before])
    graph.given = torch.rand(graph.num_edges) < 0.5
    graph.names, graph.labels = [f"Städtchen {i}" for i in range(13)], ["a", None, "b"] * 4 + [None]
    graph.ptr = torch.tensor([0, 13])
    return graph


def test_to_frame_has_all_steps_heads_marks_and_names(learned):
    frame = learned.to_frame()
    first, last = (frame[frame["step"] == step] for step in (1, 2))
    assert [len(first), len(last)] == [step.num_edges for step in learned.steps]
    assert last["source"].tolist() == learned.col.tolist()
    assert last["target"].tolist() == learned.row.tolist()
    np.testing.assert_array_equal(last["weight"], learned.mean_weight())
    np.testing.assert_array_equal(last[["head_0", "head_1", "head_2"]], learned.weight)
    np.testing.assert_array_equal(first["weight"], learned.steps[0].weight)
    assert first["head_1"].isna().all()
    assert first["given"].isna().all()
    assert last["given"].tolist() == learned.given.tolist()
    assert last["source_name"].tolist() == [f"Städtchen {i}" for i in learned.col.tolist()]
    assert first["target_name"].tolist() == [f"Städtchen {i}" for i in learned.steps[0].row.tolist()]


def test_to_frame_of_plain_and_bipartite_graphs():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0], [0, 1]]), 2, num_sources=3, names=["x", "y"])
    graph.source_names = ["p", "q", "r"]
    assert graph.to_frame().to_dict("list") == {
        "step": [1, 1],
        "source": [2, 0],
        "target": [0, 1],
        "weight": [1.0, 1.0],
        "source_name": ["r", "p"],
        "target_name": ["x", "y"],
    }
    half = graph.with_weight(torch.tensor([0.5, 0.25], dtype=torch.bfloat16, requires_grad=True))
    assert half.to_frame()["weight"].tolist() == [0.5, 0.25]


def test_parquet_round_trip(learned, tmp_path):
    path = learned.to_parquet(tmp_path / "new" / "edges.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), learned.to_frame())


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_networkx_reads_what_was_written(learned, tmp_path, suffix: str):
    path = WRITERS[suffix](learned, tmp_path / f"graph{suffix}")
    read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
    expected = learned.to_networkx()
    assert list(read.nodes) == list(expected.nodes)
    assert sorted(read.edges) == sorted(expected.edges)
    for source, target, attributes in expected.edges(data=True):
        assert read.edges[source, target]["weight"] == pytest.approx(attributes["weight"])
        assert read.edges[source, target]["given"] is attributes["given"]
    label, name = ("label", "name") if suffix == ".graphml" else ("token_label", "label")
    assert [read.nodes[node].get(label) for node in read] == learned.labels
    assert [read.nodes[node][name] for node in read] == learned.names
    assert {read.nodes[node]["set"] for node in read} == {0}


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_both_sides_of_a_bipartite_graph_are_told_apart(tmp_path, suffix: str):
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0], [0, 1]]), 2, num_sources=3)
    graph.labels, graph.source_labels = torch.tensor([0, -1]), np.array([1.5, 2.0, np.nan])
    path = WRITERS[suffix](graph, tmp_path / f"graph{suffix}")
    read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
    assert [side for _, side in read.nodes(data="side")] == ["target"] * 2 + ["source"] * 3
    assert sorted(read.edges) == [("2", "1"), ("4", "0")]
    label = "label" if suffix == ".graphml" else "token_label"
    assert [value for _, value in read.nodes(data=label)] == [0.0, -1.0, 1.5, 2.0, None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([True, None, False], [True, None, False]),
        ([1, "x", 2.5], ["1", "x", "2.5"]),
        ([True, 2, None], ["True", "2", None]),
        (np.array([1, 2, 3], dtype=np.int8), [1, 2, 3]),
        ([1.5, math.inf, math.nan], ["1.5", "inf", None]),
        ([10**30, 1, 2], [1e30, 1.0, 2.0]),
        (pd.Series(["a", pd.NA, "c"]), ["a", None, "c"]),
        (pd.to_datetime(pd.Series(["2024-05-01", None, "2024-05-02"])), None),
        ([(1, 2), (3,), None], ["(1, 2)", "(3,)", None]),
    ],
)
@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_labels_of_any_type_are_written(tmp_path, suffix: str, labels: Any, expected: list[Any] | None):
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 3)
    graph.labels = labels
    path = WRITERS[suffix](graph, tmp_path / f"graph{suffix}")
    read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
    found = [read.nodes[node].get("label" if suffix == ".graphml" else "token_label") for node in read]
    if expected is None:
        assert [value is None for value in found] == [False, True, False]
        assert found[0].startswith("2024-05-01")
    else:
        assert found == expected
        assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("names", "nodes", "written"),
    [
        (["Ω", "名前", "<&\">'"], None, None),
        (["", "b", "c"], ["0", "1", "2"], None),
        (["b", "b", "c"], ["0", "1", "2"], None),
        (
            ["a\x01", "b\ud800", "c\uffff"],
            ["a\ufffd", "b\ufffd", "c\ufffd"],
            ["a\ufffd", "b\ufffd", "c\ufffd"],
        ),
        (["a\x01", "a\x02", "c"], ["0", "1", "2"], ["a\ufffd", "a\ufffd", "c"]),
        (["a\r\nb", "a\tb ", "a\nc"], ["a\nb", "a\tb ", "a\nc"], ["a\nb", "a\tb ", "a\nc"]),
    ],
)
@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_unusual_names(tmp_path, suffix: str, names: list[str], nodes: list[str] | None, written: Any):
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 3, names=names)
    path = WRITERS[suffix](graph, tmp_path / f"graph{suffix}")
    read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
    assert list(read.nodes) == (nodes or names)
    found = [read.nodes[node]["name" if suffix == ".graphml" else "label"] for node in read]
    assert found == (written or names)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=3), min_size=1, max_size=5))
def test_any_names_are_written_and_read(tmp_path_factory, names: list[str]):
    folder = tmp_path_factory.mktemp("names")
    count = len(names)
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [count - 1]]), count, names=names)
    for suffix, write in WRITERS.items():
        path = write(graph, folder / f"g{suffix}")
        if suffix == ".parquet":
            assert pd.read_parquet(path)["source_name"].tolist() == [names[0]]
        else:
            read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
            assert read.number_of_nodes() == count
            assert read.number_of_edges() == 1


def test_names_that_are_no_text_are_written_in_parquet(tmp_path):
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 2, names=["a\ud800", ""])
    frame = pd.read_parquet(graph.to_parquet(tmp_path / "e.parquet"))
    assert frame["source_name"].tolist() == ["a?"]
    assert frame["target_name"].tolist() == [""]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("tokens", [0, 2])
def test_graphs_without_edges_are_written(tmp_path, suffix: str, tokens: int):
    graph = TokenGraph.from_edge_index(torch.empty(2, 0, dtype=torch.long), tokens, names=["n"] * tokens)
    path = WRITERS[suffix](graph, tmp_path / f"g{suffix}")
    if suffix == ".parquet":
        assert list(pd.read_parquet(path).columns) == [
            "step",
            "source",
            "target",
            "weight",
            "source_name",
            "target_name",
        ]
    else:
        read = nx.read_graphml(path) if suffix == ".graphml" else nx.read_gexf(path)
        assert read.number_of_nodes() == tokens


@pytest.mark.parametrize("suffix", WRITERS)
def test_bad_paths_are_refused_and_nothing_is_lost(learned, tmp_path, suffix: str, monkeypatch):
    write = WRITERS[suffix]
    with pytest.raises(ValueError, match=r"g\.txt ends in '\.txt'; known are"):
        write(learned, tmp_path / "g.txt")
    folder = tmp_path / f"d{suffix}"
    folder.mkdir()
    with pytest.raises(ValueError, match="is a directory"):
        write(learned, folder)
    path = tmp_path / f"g{suffix}"
    path.write_text("old")
    with pytest.raises(OSError, match="g"):
        write(learned, path / f"below{suffix}")

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(nx, "write_graphml", full)
    monkeypatch.setattr(nx, "write_gexf", full)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="no space left"):
        write(learned, path)
    assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == [folder.name, path.name]

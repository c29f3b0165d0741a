from __future__ import annotations

import networkx as nx
import pandas as pd
import pytest

from structformer.tokenize.graph_files import read_graph, read_input


@pytest.fixture
def graph() -> nx.Graph:
    graph = nx.path_graph(5)
    nx.set_node_attributes(graph, {node: {"height": node / 2, "kind": "ab"[node % 2]} for node in graph})
    return nx.relabel_nodes(graph, {node: f"n{node}" for node in graph})


@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".graphml", nx.write_graphml_xml), (".gexf", nx.write_gexf), (".gml", nx.write_gml)],
)
def test_names_edges_and_attributes_are_read(graph, tmp_path, suffix, write):
    path = tmp_path / f"g{suffix}"
    write(graph, path)
    again = read_graph(path)
    assert set(again) == set(graph)
    assert {frozenset(edge) for edge in again.edges} == {frozenset(edge) for edge in graph.edges}
    assert again.nodes["n3"]["height"] == 1.5
    assert again.nodes["n3"]["kind"] == "b"
    assert "label" not in again.nodes["n3"]


def test_labels_that_repeat_are_no_names(tmp_path):
    path = tmp_path / "g.gml"
    path.write_text('graph [ node [ id 7 label "x" ] node [ id 9 label "x" ] edge [ source 7 target 9 ] ]')
    assert sorted(read_graph(path)) == [7, 9]


def test_gml_without_labels_is_read(tmp_path):
    path = tmp_path / "g.gml"
    path.write_text("graph [ node [ id 7 ] node [ id 9 ] edge [ source 7 target 9 ] ]")
    assert sorted(read_graph(path)) == [7, 9]


def test_edge_list(tmp_path):
    path = tmp_path / "g.edgelist"
    path.write_text("# friends\nann bob\nbob, cleo, 0.5  # new\n\n")
    graph = read_graph(path)
    assert sorted(graph) == ["ann", "bob", "cleo"]
    assert graph.edges["bob", "cleo"] == {"weight": 0.5}
    assert graph.edges["ann", "bob"] == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("g.edgelist", "a b\na\n", r"g\.edgelist, line 2: expected 'source target \[weight\]' \(got 'a'\)"),
        ("g.edgelist", "a b heavy\n", "line 1: weight must be a finite number .*'heavy'"),
        ("g.edgelist", "a b nan\n", "line 1: weight must be a finite number .*'nan'"),
        ("g.edgelist", "# nothing\n", "graph without nodes"),
        ("g.graphml", "<graphml><graph", "not a readable graphml file"),
        ("g.gexf", "<html></html>", "not a readable gexf file"),
        ("g.gml", "graph [ node [", "not a readable gml file"),
        ("g.gml", "graph [ ]", "graph without nodes"),
        ("g.gml", "", "is empty"),
        ("g.dot", "digraph {}", r"'\.dot', not a graph; known are"),
    ],
)
def test_a_damaged_graph_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_graph(path)


def test_read_input_goes_by_the_suffix(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    (tmp_path / "g.edgelist").write_text("1 2\n")
    (tmp_path / "notes.txt").write_text("1 2\n")
    assert isinstance(read_input(tmp_path / "t.csv", delimiter=";"), pd.DataFrame)
    assert isinstance(read_input(tmp_path / "g.edgelist"), nx.Graph)
    with pytest.raises(ValueError, match=r"not a table or a graph; known are \.csv, .*\.edgelist"):
        read_input(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_input(tmp_path / "gone.csv")

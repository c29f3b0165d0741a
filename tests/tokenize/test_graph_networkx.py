import networkx as nx
import pytest

from structformer.tokenize.graph_networkx import read_networkx


def test_nodes_keep_their_order_and_edges_are_there_once():
    graph = nx.Graph([("b", "a"), ("a", "a")], name="pair")
    plain = read_networkx(graph, ())
    assert plain.labels == ["b", "a"]
    assert plain.edge_index.tolist() == [[0, 1], [1, 1]]
    assert (plain.directed, plain.name) == (False, "pair")


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
def test_an_empty_graph_of_any_kind_is_read(kind):
    plain = read_networkx(kind(), ())
    assert (plain.num_nodes, plain.num_edges) == (0, 0)
    assert plain.edge_index.shape == (2, 0)
    assert plain.directed == kind().is_directed()


def test_attributes_are_columns_with_gaps_and_those_to_ignore_are_not_there():
    graph = nx.Graph()
    graph.add_node(0, size=1, club="x")
    graph.add_node(1, colour="red")
    graph.nodes[1][7] = "numbered"
    graph.add_edge(0, 1, weight=2.0, id="e0")
    plain = read_networkx(graph, ["club"])
    assert {name: column.values for name, column in plain.nodes.items()} == {
        "size": [1, None], "colour": [None, "red"], "7": [None, "numbered"]
    }  # fmt: skip
    assert list(plain.edges) == ["weight"]
    assert set(read_networkx(graph, ["7", "size"]).nodes) == {"club", "colour"}


def test_a_text_that_only_repeats_the_name_says_nothing():
    graph = nx.path_graph(3)
    nx.set_node_attributes(graph, {0: "0", 1: "1", 2: "2"}, "label")
    nx.set_node_attributes(graph, {0: "0", 1: "1", 2: "x"}, "other")
    assert list(read_networkx(graph, ()).nodes) == ["other"]


def test_names_of_parallel_edges_are_an_attribute_but_counts_are_not():
    counted = nx.MultiGraph([(0, 1), (0, 1)])
    assert read_networkx(counted, ()).num_edges == 2
    assert read_networkx(counted, ()).edges == {}
    named = nx.MultiDiGraph()
    named.add_edge(0, 1, key="knows", since=1)
    named.add_edge(1, 0, key=3)
    assert read_networkx(named, ()).edges["key"].values == ["knows", "3"]
    assert read_networkx(named, ["key"]).edges.keys() == {"since"}

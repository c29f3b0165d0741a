import numpy as np

from structformer.tokenize.graph_plain import PlainGraph


def plain(labels, **other) -> PlainGraph:
    return PlainGraph(labels, np.zeros((2, 0), np.int64), False, {}, {}, **other)


def test_names_that_would_read_alike_are_written_as_python_does():
    assert plain([1, "1", "two"]).names() == ["1", "'1'", "two"]
    assert plain([1, 2]).names() == ["1", "2"]
    assert plain([]).names() == []
    assert plain([(0, 1), None]).names() == ["(0, 1)", "None"]


def test_nodes_of_several_types_are_named_by_type_and_number():
    graph = plain([("paper", 0), ("author", 0)], node_type=np.array([0, 1]))
    assert graph.names() == ["paper 0", "author 0"]
    assert (graph.num_nodes, graph.num_edges) == (2, 0)

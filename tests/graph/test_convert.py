from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from structformer.graph import TokenGraph


def test_row_0_of_edge_index_is_the_source():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0, 1], [0, 1, 1]]), 3)
    assert graph.rowptr.tolist() == [0, 1, 3, 3]
    assert graph.col.tolist() == [2, 0, 1]
    assert graph.row.tolist() == [0, 1, 1]
    assert graph.degree().tolist() == [1, 2, 0]


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_edges_does_not_matter(random_graph, random: Any, bipartite: bool):
    graph = random_graph(11, 7 if bipartite else None, 31, seed=random.randrange(1000))
    order = torch.tensor(random.sample(range(31), 31))
    edge_index, weight = graph.to_edge_index()
    assert weight is not None
    again = TokenGraph.from_edge_index(
        edge_index[:, order], 11, weight[order], num_sources=7 if bipartite else None
    )
    assert again.rowptr.equal(graph.rowptr)
    assert again.col.equal(graph.col)
    assert again.weight is not None
    assert again.weight.equal(weight)


def test_columns_ascend_inside_each_row(random_graph):
    graph = random_graph(17, 19, 101)
    for start, end in zip(graph.rowptr[:-1].tolist(), graph.rowptr[1:].tolist(), strict=True):
        assert (graph.col[start:end].diff() > 0).all()


@pytest.mark.parametrize("heads", [0, 3])
def test_repeated_edges_are_merged_and_weights_added(heads: int):
    edge_index = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]])
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0])
    if heads:
        weight = weight[:, None] * torch.arange(1.0, heads + 1)
    weight.requires_grad_()
    graph = TokenGraph.from_edge_index(edge_index, 2, weight)
    assert graph.num_edges == 2
    assert graph.weight is not None
    first = graph.weight if not heads else graph.weight[:, 0]
    assert first.tolist() == [13.0, 2.0]
    graph.weight.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()
    with pytest.raises(ValueError, match="edge from 1 to 0 is repeated"):
        TokenGraph.from_edge_index(edge_index, 2, coalesce=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"edge_index": torch.tensor([[0, 1, 2, 17], [1, 2, 0, 1]])},
            "edge 3 names token 17, but there are 5",
        ),
        ({"edge_index": torch.tensor([[0], [-1]])}, "edge 0 names token -1, but there are 5"),
        ({"edge_index": torch.tensor([[7], [1]]), "num_sources": 7}, "names source token 7, but there are 7"),
        ({"edge_index": torch.tensor([0, 1])}, r"shape \[2, edges\] \(got \[2\]\)"),
        ({"edge_index": torch.rand(2, 3)}, "must hold integers"),
        ({"num_tokens": -1}, r"num_tokens must not be negative \(got -1\)"),
        ({"weight": torch.rand(3)}, r"weight must have shape \[2\]"),
        ({"weight": torch.tensor([1, 2])}, "weight must be floating point"),
        ({"weight": torch.tensor([1.0, torch.inf])}, "edge 1 has inf"),
        ({"names": ["a"]}, r"names must hold 5 names, one for each token \(got 1\)"),
        ({"ptr": torch.tensor([0, 2, 4])}, r"number of tokens, 5 \(got \[0, 2, 4\]\)"),
        ({"ptr": torch.tensor([0, 3, 2, 5])}, "ptr must rise"),
        ({"ptr": torch.tensor([0.0, 5.0])}, "ptr must be a vector of int64"),
        ({"ptr": torch.tensor([0, 1, 5])}, "edge 0 joins token 0 of set 0 to token 1 of set 1"),
    ],
)
def test_bad_edges_are_named(arguments: dict[str, Any], message: str):
    good: dict[str, Any] = {"edge_index": torch.tensor([[0, 1], [1, 2]]), "num_tokens": 5}
    with pytest.raises(ValueError, match=message):
        TokenGraph.from_edge_index(**(good | arguments))


@pytest.mark.parametrize("shape", [(13, 13), (13, 5)])
def test_scipy_round_trip(dense, shape: tuple[int, int]):
    matrix = sp.random_array(shape, density=0.3, rng=np.random.default_rng(0), format="coo")
    graph = TokenGraph.from_scipy(matrix)
    np.testing.assert_allclose(dense(graph).numpy(), matrix.toarray())
    np.testing.assert_allclose(graph.to_scipy().toarray(), matrix.toarray())


def test_networkx_undirected_multi_and_self_loops(dense):
    source = nx.MultiGraph()
    source.add_nodes_from(["b", "a", 3])
    source.add_edge("b", "a", weight=2.0)
    source.add_edge("a", "b", weight=3.0)
    source.add_edge("b", "b")
    graph = TokenGraph.from_networkx(source)
    assert graph.names == ["b", "a", "3"]
    assert dense(graph).tolist() == [[1, 5, 0], [5, 0, 0], [0, 0, 0]]
    assert TokenGraph.from_networkx(source, weight=None).weight is None
    source.add_edge("a", 3, weight="heavy")
    with pytest.raises(ValueError, match="edge 'a' to 3 must be a number"):
        TokenGraph.from_networkx(source)


def test_networkx_direction_and_round_trip(random_graph, dense):
    graph = random_graph(7, None, 19)
    graph.names = list("abcdefg")
    graph.labels = torch.arange(7)
    graph.given = torch.arange(19) % 2 == 0
    out = graph.to_networkx()
    matrix = dense(graph)
    for source, target, attributes in out.edges(data=True):
        assert attributes["weight"] == pytest.approx(float(matrix[ord(target) - 97, ord(source) - 97]))
    assert out.nodes["c"] == {"name": "c", "label": 2}
    assert sum(attributes["given"] for *_, attributes in out.edges(data=True)) == 10
    again = TokenGraph.from_networkx(out)
    assert again.names == graph.names
    torch.testing.assert_close(dense(again).double(), matrix, atol=1e-6, rtol=1e-6)


def test_networkx_names_that_do_not_tell_nodes_apart():
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [2]]), 3, names=["a", "a", "b"])
    out = graph.to_networkx()
    assert list(out.edges) == [(0, 2)]
    assert out.nodes[1]["name"] == "a"


def test_networkx_bipartite():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0], [0, 1]]), 2, num_sources=3, names=["x", "y"])
    graph.source_names, graph.source_labels = ["p", "q", "r"], [5, 6, 7]
    out = graph.to_networkx()
    assert set(out.edges) == {("r", "x"), ("p", "y")}
    assert out.nodes["r"] == {"name": "r", "side": "source", "label": 7}
    assert out.nodes["x"] == {"name": "x", "side": "target"}
    square = TokenGraph.from_edge_index(torch.tensor([[1], [0]]), 2, names=["x", "y"])
    assert not square.is_bipartite
    square.source_names = ["p", "q"]
    assert square.is_bipartite
    assert list(square.to_networkx().edges) == [("q", "x")]


def test_pyg_round_trip(random_graph, dense):
    graph = random_graph(11, None, 29)
    graph.names = [f"n{i}" for i in range(11)]
    graph.ptr = torch.tensor([0, 11])
    data = graph.to_pyg()
    assert isinstance(data, Data)
    assert data.num_nodes == 11
    again = TokenGraph.from_pyg(data)
    assert again.names == graph.names
    assert again.ptr is not None
    torch.testing.assert_close(dense(again), dense(graph))
    assert random_graph(heads=3).to_pyg()["edge_attr"].shape == (47, 3)
    bipartite = random_graph(11, 5, 29).to_pyg()
    assert bipartite["source"].num_nodes == 5
    assert bipartite["source", "to", "target"].edge_index[0].max() < 5
    with pytest.raises(ValueError, match="how many nodes"):
        TokenGraph.from_pyg(Data())

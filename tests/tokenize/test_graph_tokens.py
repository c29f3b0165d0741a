import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.tokenize.attributes import Column
from structformer.tokenize.graph_plain import PlainGraph
from structformer.tokenize.graph_tokens import (
    both_ways,
    edge_items,
    merge_directions,
    node_items,
    pack_graphs,
)


def plain(nodes: int, pairs, directed: bool = False, edges=None, **other) -> PlainGraph:
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return PlainGraph([f"n{i}" for i in range(nodes)], index, directed, {}, edges or {}, **other)


def packed(graphs, edge_tokens: bool = False):
    nodes, edges = (sum(getattr(g, name) for g in graphs) for name in ("num_nodes", "num_edges"))
    x = np.arange(1, nodes + 1, dtype=np.float32)[:, None]
    edge_x = -np.arange(1, edges + 1, dtype=np.float32)[:, None]
    return pack_graphs(graphs, x, edge_x, edge_tokens, edge_code=1)


def test_undirected_edges_run_both_ways_and_loops_once():
    links = both_ways([plain(3, [(0, 1), (2, 2)]), plain(2, [(1, 0)], directed=True)])
    assert links.edge_index.T.tolist() == [[0, 1], [2, 2], [1, 0], [4, 3]]
    assert links.edge.tolist() == [0, 1, 0, 2]


def test_two_directions_are_one_edge_only_if_they_say_the_same():
    both = [(0, 1), (1, 0), (2, 2)]
    same = plain(3, both, True, edges={"w": Column(np.array([[5.0], [5.0], [1.0]]))})
    merged = merge_directions(same)
    assert not merged.directed
    assert merged.edge_index.T.tolist() == [[0, 1], [2, 2]]
    assert np.asarray(merged.edges["w"].values).tolist() == [[5], [1]]
    other = plain(3, both, True, edges={"w": Column(np.array([[5.0], [6.0], [1.0]]))})
    assert merge_directions(other) is other
    one_way = plain(3, [(0, 1)], True)
    assert merge_directions(one_way) is one_way


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6, unique=True), st.booleans())
def test_tokens_of_edges_stand_between_their_ends(edges, directed: bool):
    graphs = [plain(5, edges, directed), plain(1, []), plain(5, edges[:2], directed)]
    tokens = packed(graphs, edge_tokens=True)
    tokens.validate()
    assert tokens.sizes.tolist() == [5 + len(edges), 1, 5 + len(edges[:2])]
    ways = sum(2 - (directed or a == b) for a, b in [*edges, *edges[:2]])
    assert tokens.edge_index.shape[1] == 2 * ways
    is_edge = tokens.token_type == 1
    assert (is_edge[tokens.edge_index].sum(0) == 1).all()
    assert tokens.x[~is_edge, 0].tolist() == list(range(1, 12))
    assert (tokens.x[is_edge, 1] < 0).all()
    plainly = packed(graphs)
    assert plainly.edge_index.shape[1] == ways
    assert len(plainly.edge_attr) == ways


def test_fields_of_nodes_leave_edges_blank():
    graph = plain(2, [(0, 1)], y=torch.tensor([0.5, 1.5]), masks={"train_mask": torch.tensor([True, False])})
    tokens = packed([graph], edge_tokens=True)
    assert tokens.y[:2].tolist() == [0.5, 1.5]
    assert torch.isnan(tokens.y[2])
    assert tokens.train_mask.tolist() == [True, False, False]
    assert tokens.names == ["n0", "n1", "n0 -- n1"]
    whole = [plain(1, [], y=torch.tensor([3])), plain(2, [], y=torch.tensor([4]))]
    assert packed(whole).y.tolist() == [3, 4]
    assert packed([whole[0], plain(2, [])]).y is None


def test_errors_name_the_graph_and_what_is_in_it():
    graphs = [plain(1, []), plain(3, [(2, 0)])]
    assert node_items(graphs).describe(3) == "node 'n2' of graph 1"
    assert edge_items(graphs).describe(0) == "edge ('n2', 'n0') of graph 1"
    assert node_items(graphs[1:]).describe(0) == "node 'n0'"
    graphs[0].y, graphs[1].y = torch.zeros(1), torch.zeros(2)
    with pytest.raises(ValueError, match="graph 1: y has 2 entries, but there are 3 nodes"):
        packed(graphs)

"""Graphs with attributes, symmetric graphs, targets that graphs carry. The rest: test_pooled."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import structformer as sf

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}


def renumbered(graph, draw):
    """The same graph, nodes and edges in another order and edges turned round; nodes keep their names."""
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    other = type(graph)()
    other.add_nodes_from(nodes[i] for i in draw.permutation(len(nodes)))
    for i in draw.permutation(len(edges)):
        u, v, held = edges[i]
        turned = not graph.is_directed() and draw.random() < 0.5
        other.add_edge(*((v, u) if turned else (u, v)), **held)
    return other


@pytest.fixture(scope="module", params=["soes", "ressformer"])
def symmetric(request):
    # Most nodes of these have twins, so that neighbours tie, and more than a node may listen to.
    graphs = [nx.balanced_tree(2, 4), nx.cycle_graph(29), nx.star_graph(23), nx.circular_ladder_graph(13)] * 3
    graphs += [nx.random_labeled_tree(31, seed=i) for i in range(4)]
    return graphs, sf.GraphClassifier(**FAST, model=request.param, neighbors=5).fit(graphs, [0, 1] * 8)


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=8)
def test_twins_do_not_make_the_numbering_matter(seed, symmetric):
    graphs, model = symmetric
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(graphs))
    found = model.predict_proba([renumbered(graphs[i], draw) for i in order])
    np.testing.assert_allclose(found, model.predict_proba(graphs)[order], rtol=1e-9)


def test_what_is_saved_predicts_the_same(symmetric, tmp_path):
    graphs, model = symmetric
    again = sf.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(graphs), model.predict_proba(graphs))
    np.testing.assert_array_equal(again.predict_proba(graphs[2:3]), model.predict_proba(graphs[2:3]))


def test_rings_with_tails_and_trees_of_the_same_size():
    draw = np.random.default_rng(0)
    graphs = []
    for i, n in enumerate(draw.integers(8, 20, size=150)):
        graph = nx.random_labeled_tree(n, seed=i)
        if i % 2:
            graph = nx.cycle_graph(n - 2)
            graph.add_edges_from([(0, n - 2), (int(draw.integers(n - 2)), n - 1)])
        graphs.append(graph)
    y = np.arange(150) % 2
    model = sf.GraphClassifier(epochs=10, width=32, random_state=0, verbose=False).fit(graphs[:100], y[:100])
    assert model.score(graphs[100:], y[100:]) > 0.95


def test_attributes_of_nodes_and_edges_are_read():
    draw = np.random.default_rng(0)
    graphs, y = [], np.arange(80) % 4
    for label in y:
        graph = nx.gnp_random_graph(7, 0.5, seed=int(draw.integers(10**6)), directed=True)
        nx.set_node_attributes(graph, dict.fromkeys(graph, "red" if label % 2 else "blue"), "colour")
        nx.set_edge_attributes(
            graph, {edge: float(label // 2) + 0.1 * draw.normal() for edge in graph.edges}, "length"
        )
        graphs.append(graph)
    model = sf.GraphClassifier(epochs=15, width=32, random_state=0, verbose=False).fit(graphs[:60], y[:60])
    assert model.score(graphs[60:], y[60:]) > 0.9
    with pytest.raises(ValueError, match="colour"):
        model.predict([nx.path_graph(4)])


def carrying(count=30):
    generator = torch.Generator().manual_seed(0)
    xs = [torch.randn(n, 2, generator=generator) for n in torch.randint(2, 9, (count,), generator=generator)]
    chains = [torch.stack([torch.arange(len(x) - 1), torch.arange(1, len(x))]) for x in xs]
    return [
        Data(x=x, edge_index=e, y=torch.tensor([i % 3]))
        for i, (x, e) in enumerate(zip(xs, chains, strict=True))
    ]


def test_graphs_carry_their_targets():
    graphs = carrying()
    y = [int(graph.y) for graph in graphs]
    own = sf.GraphClassifier(**FAST).fit(graphs, eval_set=(graphs[:5], None))
    told = sf.GraphClassifier(**FAST).fit(graphs, y, eval_set=(graphs[:5], y[:5]))
    np.testing.assert_array_equal(own.predict_proba(graphs), told.predict_proba(graphs))
    for graph in graphs:
        del graph.y
    with pytest.raises(ValueError, match="requires y"):
        sf.GraphClassifier(**FAST).fit(graphs)
    np.testing.assert_array_equal(own.predict_proba(graphs), told.predict_proba(graphs))


def test_edges_of_each_graph_are_in_its_learned_graph():
    graphs = [nx.relabel_nodes(nx.cycle_graph(n), {i: f"{n}:{i}" for i in range(n)}) for n in range(19, 31)]
    model = sf.GraphRegressor(**FAST, neighbors=2).fit(graphs, np.arange(12.0))
    learned = model.learned_graph(graphs)
    edges, _ = learned.to_edge_index()
    found = {
        (learned.names[a], learned.names[b]): bool(g)
        for (a, b), g in zip(edges.T.tolist(), learned.given, strict=True)
    }
    own = {pair for graph in graphs for u, v in graph.edges for pair in ((u, v), (v, u))}
    assert {pair for pair, given in found.items() if given} == own
    assert all(a.split(":")[0] == b.split(":")[0] for a, b in found)


@pytest.mark.parametrize("estimator", [sf.GraphClassifier, sf.GraphRegressor])
@pytest.mark.parametrize(
    ("graphs", "y", "message"),
    [
        ([], [], "at least 1 graph"),
        ([nx.path_graph(3), nx.Graph()], [0, 1], "graph 1 has no nodes"),
        ([nx.path_graph(3), nx.path_graph(4)], [0], "y has 1 entries, but there are 2 graphs"),
    ],
)
def test_what_cannot_be_used_is_named(estimator, graphs, y, message):
    with pytest.raises(ValueError, match=message):
        estimator(**FAST).fit(graphs, y)


def test_one_class_is_named():
    with pytest.raises(ValueError, match="at least two classes"):
        sf.GraphClassifier(**FAST).fit([nx.cycle_graph(3), nx.cycle_graph(4)], ["ring", "ring"])


def test_an_edge_to_a_missing_node_is_named_in_prediction_too():
    graphs = carrying()
    model = sf.GraphClassifier(**FAST).fit(graphs)
    broken = Data(x=torch.ones(3, 2), edge_index=torch.tensor([[0, 1], [1, 3]]))
    with pytest.raises(ValueError, match="graph 1: edge 1 names node 3, but there are 3"):
        model.predict([graphs[0], broken])

"""Estimators of sets, graphs and nodes: learning, invariance, bad input, saving."""

import pickle

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import structformer as sf

FAST = {"width": 16, "epochs": 12, "random_state": 0, "verbose": False}


def point_sets(count, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return [draw.normal(size=(draw.integers(3, 11), 2)) * (1 + 3 * label) for label in y], y


def rings_and_trees(count, seed=0):
    draw = np.random.default_rng(seed)
    sizes = draw.integers(5, 12, size=count)
    graphs = [nx.cycle_graph(n) if i % 2 else nx.random_labeled_tree(n, seed=i) for i, n in enumerate(sizes)]
    return graphs, np.arange(count) % 2


@pytest.fixture(scope="module")
def sets_model():
    return sf.SetClassifier(**FAST).fit(*point_sets(80))


@pytest.fixture(scope="module")
def graphs_model():
    return sf.GraphClassifier(**FAST).fit(*rings_and_trees(60))


@pytest.fixture(scope="module")
def club():
    graph = nx.karate_club_graph()
    return graph, np.array([graph.nodes[node]["club"] for node in graph])


@pytest.fixture(scope="module")
def nodes_model(club):
    graph, labels = club
    known = [node in (0, 33) for node in graph]
    return sf.NodeClassifier(ignore=["club"], random_state=0, verbose=False).fit(
        graph, labels, train_mask=known
    )


def test_sets_are_learned(sets_model):
    sets, y = point_sets(60, seed=1)
    assert sets_model.score(sets, y) > 0.85


def test_order_of_elements_and_company_change_nothing(sets_model):
    sets, _ = point_sets(31, seed=2)
    whole = sets_model.predict_proba(sets)
    draw = np.random.default_rng(3)
    np.testing.assert_allclose(
        sets_model.predict_proba([draw.permutation(s) for s in sets]), whole, rtol=1e-9
    )
    np.testing.assert_allclose(sets_model.predict_proba(sets[7:8]), whole[7:8], rtol=1e-9)
    np.testing.assert_allclose(sets_model.predict_proba(sets[::-1])[::-1], whole, rtol=1e-9)


def test_shuffled_training_data_gives_the_same_set_model(sets_model):
    sets, y = point_sets(80)
    draw = np.random.default_rng(5)
    order = draw.permutation(80)
    other = sf.SetClassifier(**FAST).fit([draw.permutation(sets[i]) for i in order], y[order])
    np.testing.assert_allclose(other.predict_proba(sets), sets_model.predict_proba(sets), rtol=1e-5)


def test_the_learned_graph_of_sets_stays_inside_them(sets_model):
    sets, _ = point_sets(5, seed=4)
    graph = sets_model.learned_graph(sets)
    edges, weight = graph.to_edge_index()
    place = torch.repeat_interleave(torch.arange(5), torch.tensor([len(s) for s in sets]))
    assert (place[edges[0]] == place[edges[1]]).all()
    sums = torch.zeros(graph.num_targets, dtype=weight.dtype).index_add_(0, edges[1], weight)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_saved_set_model_predicts_the_same(sets_model, tmp_path):
    sets, _ = point_sets(9, seed=6)
    again = sf.load(sets_model.save(tmp_path / "model"))
    np.testing.assert_allclose(again.predict_proba(sets), sets_model.predict_proba(sets), rtol=1e-12)
    same = pickle.loads(pickle.dumps(sets_model))
    np.testing.assert_array_equal(same.predict_proba(sets), sets_model.predict_proba(sets))


def test_set_regression_reads_the_sizes():
    sets, _ = point_sets(120)
    y = np.array([np.abs(s).max() for s in sets])
    model = sf.SetRegressor(width=32, epochs=40, random_state=0, verbose=False).fit(sets[:90], y[:90])
    assert model.score(sets[90:], y[90:]) > 0.5


@pytest.mark.parametrize(
    ("sets", "y", "message"),
    [
        ([], [], "set"),
        ([np.ones((2, 3)), np.ones((0, 3))], [0, 1], "1"),
        ([np.ones((2, 3)), np.ones((2, 2))], [0, 1], "feature|column"),
        ([np.ones((2, 3)), np.full((2, 3), np.nan)], [0, 1], "finite|nan"),
        ([np.ones((2, 3)), np.zeros((2, 3))], [0, 0], "two classes"),
        ([np.ones((2, 3)), np.zeros((2, 3))], [0, 1, 1], "3 .*2"),
    ],
)
def test_bad_sets_are_named(sets, y, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        sf.SetClassifier(**FAST).fit(sets, y)


def test_graphs_are_learned_from_structure_alone(graphs_model):
    graphs, y = rings_and_trees(40, seed=1)
    assert graphs_model.score(graphs, y) > 0.9


def test_numbering_of_nodes_changes_nothing(graphs_model):
    graphs, _ = rings_and_trees(9, seed=2)
    whole = graphs_model.predict_proba(graphs)
    draw = np.random.default_rng(0)
    moved = []
    for graph in graphs:
        other = nx.Graph()
        other.add_nodes_from(draw.permutation(graph.number_of_nodes()).tolist())
        other.add_edges_from(graph.edges)
        moved.append(other)
    np.testing.assert_allclose(graphs_model.predict_proba(moved), whole, rtol=1e-9)
    np.testing.assert_allclose(graphs_model.predict_proba(graphs[4:5]), whole[4:5], rtol=1e-9)


def test_graph_regression_of_pyg_data():
    graphs = []
    for i in range(40):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(i))
        graphs.append(Data(x=x, edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), y=x.sum().view(1)))
    model = sf.GraphRegressor(width=16, epochs=40, random_state=0, verbose=False).fit(graphs)
    target = np.array([float(graph.y) for graph in graphs])
    assert model.score(graphs, target) > 0.5


@pytest.mark.parametrize(
    ("graphs", "y", "message"),
    [
        ([nx.path_graph(3), nx.Graph()], [0, 1], "node"),
        (
            [
                Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [5]])),
                Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]])),
            ],
            [0, 1],
            "5",
        ),
        ([nx.path_graph(3), nx.path_graph(4)], [1, 1], "two classes"),
    ],
)
def test_bad_graphs_are_named(graphs, y, message):
    with pytest.raises(ValueError, match=message):
        sf.GraphClassifier(**FAST).fit(graphs, y)


def test_two_leaders_are_enough_for_the_club(nodes_model, club):
    graph, labels = club
    assert (nodes_model.predict(graph) == labels).sum() >= 32


def test_nodes_in_another_order_get_the_same_classes(nodes_model, club):
    graph, _ = club
    order = np.random.default_rng(0).permutation(len(graph)).tolist()
    moved = nx.Graph()
    moved.add_nodes_from((node, graph.nodes[node]) for node in order)
    moved.add_edges_from(graph.edges(data=True))
    found = dict(zip(order, nodes_model.predict(moved), strict=True))
    assert [found[node] for node in graph] == list(nodes_model.predict(graph))


def test_the_graph_of_nodes_carries_their_names(nodes_model, club):
    graph, _ = club
    learned = nodes_model.learned_graph(graph)
    assert learned.names == [str(node) for node in graph]
    edges, _ = learned.to_edge_index()
    found = set(map(tuple, edges.T.tolist()))
    assert {(a, b) for a, b in graph.edges} <= found


def test_masks_of_a_wrong_length_are_named(club):
    graph, labels = club
    with pytest.raises(ValueError, match=r"33.*34|34.*33"):
        sf.NodeClassifier(**FAST).fit(graph, labels, train_mask=[True] * 33)


def test_a_saved_node_model_predicts_the_same(nodes_model, club, tmp_path):
    graph, _ = club
    again = sf.load(nodes_model.save(tmp_path / "model"))
    np.testing.assert_allclose(again.predict_proba(graph), nodes_model.predict_proba(graph), rtol=1e-9)


def test_node_embeddings_tell_rings_from_a_tree():
    graph = nx.disjoint_union(nx.cycle_graph(12), nx.balanced_tree(2, 3))
    vectors = sf.GraphEncoder(width=16, epochs=20, random_state=0, verbose=False).fit_transform(graph)
    assert vectors.shape == (27, 16)
    assert np.ptp(vectors[:12], axis=0).max() < 1e-5  # nodes of a ring are alike
    assert np.abs(vectors[0] - vectors[12]).max() > 1e-2


def test_set_vectors_do_not_depend_on_order(tmp_path):
    sets, y = point_sets(40)
    model = sf.SetEncoder(width=16, epochs=10, random_state=0, verbose=False).fit(sets)
    vectors = model.transform(sets)
    np.testing.assert_allclose(model.transform([s[::-1] for s in sets]), vectors, atol=1e-6)
    near = np.linalg.norm(vectors[:, None] - vectors, axis=-1) + 1e9 * np.eye(40)
    assert (y[near.argmin(1)] == y).mean() > 0.8
    np.testing.assert_allclose(sf.load(model.save(tmp_path / "m")).transform(sets), vectors, atol=1e-6)

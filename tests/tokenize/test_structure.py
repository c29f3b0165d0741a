import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.tokenize import structure
from structformer.tokenize.structure import affordable_steps, return_probabilities, structural_features


def edges_of(graph):
    directed = graph if graph.is_directed() else graph.to_directed()
    return np.array(list(directed.edges())).reshape(-1, 2).T


def naive(edge_index, num_nodes, steps):
    adjacency = np.zeros((num_nodes, num_nodes))
    for source, target in edge_index.T:
        adjacency[source, target] += 1
        adjacency[target, source] += 1
    degree = adjacency.sum(1, keepdims=True)
    walk = np.divide(adjacency, degree, out=np.zeros_like(adjacency), where=degree > 0)
    powers = [np.linalg.matrix_power(walk, step) for step in range(1, steps + 1)]
    return np.stack([np.diag(power) for power in powers], axis=1)


@pytest.mark.parametrize(
    "graph",
    [
        nx.karate_club_graph(),
        nx.path_graph(7),
        nx.disjoint_union_all(
            [nx.cycle_graph(5), nx.complete_graph(3), nx.empty_graph(2), nx.star_graph(10)]
        ),
        nx.gnp_random_graph(23, 0.1, seed=3, directed=True),
        nx.MultiDiGraph([(0, 1), (0, 1), (1, 2), (2, 2), (3, 3)]),
    ],
    ids=["karate", "path", "parts", "directed", "multi"],
)
@pytest.mark.parametrize("steps", [1, 2, 7, 16])
def test_equals_matrix_powers(graph, steps):
    edge_index, total = edges_of(graph), graph.number_of_nodes()
    found = return_probabilities(edge_index, total, steps)
    np.testing.assert_allclose(found, naive(edge_index, total, steps), atol=2e-9, rtol=0)


def test_blocks_of_columns_change_nothing(monkeypatch):
    graph = nx.disjoint_union(nx.gnp_random_graph(29, 0.2, seed=0), nx.gnp_random_graph(13, 0.3, seed=1))
    edge_index = edges_of(graph)
    whole = return_probabilities(edge_index, 42, 5)
    monkeypatch.setattr(structure, "BLOCK_NUMBERS", 100)
    np.testing.assert_array_equal(return_probabilities(edge_index, 42, 5), whole)


def test_known_values():
    triangle = structural_features(edges_of(nx.complete_graph(3)), 3, steps=3)
    expected = [np.log(3), np.log(3), 0, 0.5, 0.25]
    np.testing.assert_allclose(triangle, np.tile(expected, (3, 1)), atol=1e-9)
    chain = structural_features(np.array([[0, 1], [1, 2]]), 4, steps=2)
    np.testing.assert_allclose(chain[:, :2], np.log1p([[0, 1], [1, 1], [1, 0], [0, 0]]))
    np.testing.assert_allclose(chain[:, 3], [0.5, 1, 0.5, 0], atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), directed=st.booleans())
def test_permuting_nodes_and_edges_permutes_rows_exactly(seed, directed):
    generator = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(17, 0.12, seed=seed, directed=directed)
    edge_index = edges_of(graph)
    place = generator.permutation(17)
    shuffled = place[edge_index][:, generator.permutation(edge_index.shape[1])]
    before, after = structural_features(edge_index, 17, 6), structural_features(shuffled, 17, 6)
    np.testing.assert_array_equal(after[place], before)


def test_equivalent_nodes_get_equal_rows():
    features = structural_features(edges_of(nx.dodecahedral_graph()), 20)
    assert (features == features[0]).all()


def test_no_edges():
    edge_index = np.zeros((2, 0), dtype=np.int64)
    assert (structural_features(edge_index, 3, 4) == np.zeros((3, 6))).all()
    assert affordable_steps(edge_index, 3, 4) == 4


def test_steps_are_shortened_for_large_graphs(monkeypatch):
    edge_index = edges_of(nx.karate_club_graph())
    assert affordable_steps(edge_index, 34) == 16
    one_product = edge_index.shape[1] * 34
    monkeypatch.setattr(structure, "MAX_PRODUCTS", 3 * one_product)
    assert affordable_steps(edge_index, 34) == 6
    monkeypatch.setattr(structure, "MAX_PRODUCTS", one_product - 1)
    assert affordable_steps(edge_index, 34) == 2
    assert affordable_steps(edge_index, 34, steps=1) == 1


def test_negative_steps():
    with pytest.raises(ValueError, match=r"steps must be at least 0 \(got -1\)"):
        return_probabilities(np.zeros((2, 0), dtype=np.int64), 3, -1)

from functools import partial

import numpy as np
import pytest
import torch
from structformer.tasks.baselines.graph_forest import GRID, counts, trained_forests
from structformer.tasks.baselines.graph_networks import GPS, MessagePassing
from structformer.tasks.baselines.graph_sets import DeepSets, FeatureSums, SetTransformer
from structformer.tasks.baselines.graph_training import read_graphs, trained_networks
from structformer.tasks.graph_problems import Budget, Graphs, GraphSplit, Point, score
from torch_geometric.data import Data

from structformer.tokenize import GraphTokenizer

KINDS = {
    **{kind: partial(MessagePassing, kind) for kind in ("gin", "gcn", "graphsage")},
    "gps": GPS,
    "deepsets": DeepSets,
    "set transformer": SetTransformer,
    "sum of features": FeatureSums,
}
BUDGET = Budget(epochs=40, patience=40, batch=16, parameters=12_000, grid=(Point(1e-2, 0.0),))


def graph(rng, size, kinds):
    ring = torch.arange(size)
    edges = torch.stack([ring, (ring + 1) % size])
    x = torch.eye(3)[torch.randint(kinds, (size,), generator=rng)]
    return Data(x=x, edge_index=torch.cat([edges, edges.flip(0)], dim=1))


def kinds_split(rng, measure="accuracy"):
    """Graphs of two kinds of nodes or of three; or how many of the nodes are of the first."""

    def some(count):
        graphs = [graph(rng, 5 + number % 4, 2 + number % 2) for number in range(count)]
        if measure == "accuracy":
            target = np.array([int(g.x[:, 2].any()) for g in graphs])
        else:
            target = np.array([float(g.x[:, 0].sum()) * 10 + 100 for g in graphs])
        return Graphs(tuple(graphs), target)

    return GraphSplit(some(120), some(40), some(60), measure)


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_learns_an_easy_case(kind, rng):
    split = kinds_split(rng)
    (fitted,) = trained_networks(KINDS[kind], False, split, BUDGET, seed=0)
    found = fitted.predict(split.test.graphs)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert score("accuracy", found, split.test.target) > 90
    assert fitted.parameters <= BUDGET.parameters


@pytest.mark.parametrize("kind", ["gin", "sum of features"])
def test_numbers_come_back_in_their_own_units(kind, rng):
    split = kinds_split(rng, "r2")
    (fitted,) = trained_networks(KINDS[kind], False, split, BUDGET, seed=0)
    assert score("r2", fitted.predict(split.test.graphs), split.test.target) > 80


@pytest.mark.parametrize("measure", ["accuracy", "r2"])
def test_a_forest_learns_an_easy_case(measure, rng):
    split = kinds_split(rng, measure)
    (fitted,) = trained_forests(counts, split, BUDGET, seed=0)
    assert score(measure, fitted.predict(split.test.graphs), split.test.target) > 80


def test_a_forest_tries_as_many_settings_as_the_others():
    split = kinds_split(torch.Generator().manual_seed(0))
    budget = Budget(1, 1, 1, 1, (Point(1e-3, 0.0),) * 3)
    assert [fitted.settings for fitted in trained_forests(counts, split, budget, 0)] == list(GRID[:3])
    with pytest.raises(ValueError, match=r"grid must hold at most \d+ points"):
        next(trained_forests(counts, split, Budget(1, 1, 1, 1, (Point(1e-3, 0.0),) * 9), 0))


def test_counts_are_of_features_nodes_edges_and_degrees(rng):
    star = Data(x=torch.eye(4), edge_index=torch.tensor([[0, 0, 0, 1, 2, 3], [1, 2, 3, 0, 0, 0]]))
    assert counts(star).tolist() == [1, 1, 1, 1, 4, 6, 0, 3, 0, 1, 0, 0, 0, 0, 0]


def test_reading_leaves_each_graph_its_own_nodes_and_edges(rng):
    graphs = [graph(rng, size, 3) for size in (5, 3, 7)]
    for number, one in enumerate(graphs):
        one.edge_attr = torch.full((one.edge_index.shape[1], 1), float(number))
    read = read_graphs(GraphTokenizer(structure=True).fit(graphs), graphs)
    for one, other in zip(graphs, read, strict=True):
        assert torch.equal(other.x[:, :3], one.x)
        assert other.x.shape[1] > 3
        assert torch.equal(other.edge_index, one.edge_index)
        assert len(other.edge_attr) == one.edge_index.shape[1]
        assert len(other.edge_attr.unique()) == 1


def test_each_point_of_the_grid_is_trained_and_the_seed_decides(rng):
    split = kinds_split(rng)
    budget = Budget(2, 2, 16, 12_000, (Point(1e-2, 0.0), Point(1e-3, 0.3)))
    runs = [list(trained_networks(KINDS["gin"], True, split, budget, seed)) for seed in (0, 0, 1)]
    first, again, other = ([fitted.predict(split.test.graphs) for fitted in run] for run in runs)
    assert [fitted.settings["dropout"] for fitted in runs[0]] == [0.0, 0.3]
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)

import numpy as np
import pytest
import torch
from structformer.tasks.graph_problems import (
    Budget,
    Graphs,
    GraphSplit,
    Point,
    held_out,
    invariance,
    permuted,
    score,
)
from torch_geometric.data import Data


def drawn_graph(rng, nodes=7, edges=11):
    return Data(
        x=torch.randn(nodes, 3, generator=rng),
        edge_index=torch.randint(nodes, (2, edges), generator=rng),
        edge_attr=torch.randn(edges, 2, generator=rng),
    )


def described(graph):
    """Every edge by what its ends and itself hold, in an order that numbers do not decide."""
    source, target = graph.edge_index
    rows = torch.cat([graph.x[source], graph.x[target], graph.edge_attr], dim=1)
    return sorted(map(tuple, rows.tolist())), sorted(map(tuple, graph.x.tolist()))


def test_a_permuted_graph_is_the_same_graph_in_another_order(rng):
    graph = drawn_graph(rng)
    other = permuted(graph, rng)
    assert described(other) == described(graph)
    assert not other.x.equal(graph.x)
    assert not other.edge_index.equal(graph.edge_index)


def test_invariance_sees_who_reads_the_order_of_nodes(rng):
    graphs = [drawn_graph(rng) for _ in range(5)]
    blind = invariance(lambda some: np.array([[g.x.double().sum().item()] for g in some]), graphs, 40, rng)
    reading = invariance(lambda some: np.array([[g.x[0, 0].item()] for g in some]), graphs, 40, rng)
    assert blind[0] == 0
    assert blind[1] < 1e-12
    assert reading[0] > 50
    assert reading[1] > 0.1


def test_a_class_changes_when_another_becomes_the_most_probable(rng):
    def first_node(some):
        high = np.array([g.x[0, 0].item() > 0 for g in some])
        return np.stack([np.where(high, 0.6, 0.4), np.where(high, 0.4, 0.6)], axis=1)

    changed, largest = invariance(first_node, [drawn_graph(rng) for _ in range(5)], 60, rng)
    assert 20 < changed < 80
    assert largest == pytest.approx(0.2)


def test_scores_are_percentages():
    found = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    assert score("accuracy", found, np.array([0, 1, 1, 0])) == 75
    assert score("roc_auc", found, np.array([0, 1, 1, 0])) == 100
    assert score("r2", np.array([[1.0], [2.0]]), np.array([1.0, 2.0])) == 100
    assert score("r2", np.array([[1.5], [1.5]]), np.array([1.0, 2.0])) == 0


def test_a_share_of_each_class_is_held_out():
    rows, target = np.arange(10, 110), np.repeat([0, 1], [80, 20])
    kept, held = held_out(rows, target, 0.1, seed=3)
    assert sorted([*kept, *held]) == rows.tolist()
    assert np.bincount(target[held - 10]).tolist() == [8, 2]
    assert not np.array_equal(held, held_out(rows, target, 0.1, seed=4)[1])


def test_a_part_keeps_graphs_and_targets_together():
    graphs = tuple(Data(x=torch.full((1, 1), float(number))) for number in range(4))
    some = Graphs(graphs, np.arange(4)).take(np.array([2, 0]))
    assert [graph.x.item() for graph in some.graphs] == some.target.tolist() == [2, 0]
    classes = GraphSplit(Graphs(graphs, np.array([0, 2, 1, 0])), some, some, "accuracy")
    assert classes.outputs == 3
    assert GraphSplit(some, some, some, "r2").outputs == 1


def test_budgets_are_checked():
    with pytest.raises(ValueError, match=r"patience must be at least 1 \(got 0\)"):
        Budget(epochs=1, patience=0, batch=1, parameters=1, grid=(Point(1e-3, 0.0),))
    with pytest.raises(ValueError, match="grid must hold at least one point"):
        Budget(epochs=1, patience=1, batch=1, parameters=1, grid=())

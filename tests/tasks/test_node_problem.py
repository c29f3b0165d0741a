import pytest
import torch
from structformer.tasks.node_invariance import node_invariance
from structformer.tasks.node_problem import Problem, Split

TRAIN = torch.tensor([1, 1, 0, 0, 0, 0, 0], dtype=torch.bool)
VAL = torch.tensor([0, 0, 1, 0, 0, 0, 0], dtype=torch.bool)
SPLIT = Split(TRAIN, VAL, ~TRAIN & ~VAL)
X, Y = torch.arange(14.0).reshape(7, 2), torch.tensor([0, 1, 1, 0, 1, 1, 0])
EDGES = torch.tensor([[0, 1, 5], [3, 2, 6]])


def scores(*classes):
    return torch.nn.functional.one_hot(torch.tensor(classes), 2).double()


def test_accuracy_is_over_the_nodes_asked_for():
    problem = Problem.of(X, Y, SPLIT)
    assert problem.score(scores(1, 0, 0, 0, 1, 0, 1)) == pytest.approx(50)
    assert problem.nodes.validation(scores(0, 0, 1, 1, 1, 1, 1)) == pytest.approx(100)


def test_the_area_under_the_curve_asks_for_the_order_alone():
    problem = Problem.of(X, Y, SPLIT, measure="ROC-AUC")
    right = torch.tensor([9.0, 9.0, 9.0, 1.0, 3.0, 2.0, 0.0])
    assert problem.score(torch.stack([torch.zeros(7), right], 1)) == pytest.approx(100)
    assert problem.score(torch.stack([right, torch.zeros(7)], 1)) == pytest.approx(0)


def test_permuted_nodes_take_everything_along():
    nodes = Problem.of(X, Y, SPLIT, EDGES).nodes
    perm = torch.tensor([4, 2, 6, 0, 1, 5, 3])
    moved = nodes.permuted(perm)
    assert moved.x.equal(X[perm])
    assert moved.labels.equal(nodes.labels[perm])
    assert perm[moved.edge_index].equal(EDGES)
    assert nodes.without_edges().edge_index.shape == (2, 0)


def test_invariance_tells_who_minds_the_order():
    problem = Problem.of(X, Y, SPLIT, EDGES)
    found = node_invariance(problem, lambda nodes: nodes.x, 5, seed=0)
    assert found == {"changed": 0.0, "largest": 0.0}
    first = node_invariance(problem, lambda nodes: scores(1, 0, 0, 0, 0, 0, 0), 5, seed=0)
    assert first["changed"] > 0
    assert first["largest"] == 1
    assert node_invariance(problem, lambda nodes: nodes.x, 0, seed=0) == {}

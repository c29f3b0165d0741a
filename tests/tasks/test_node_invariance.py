import torch
from structformer.tasks.node_invariance import node_invariance
from structformer.tasks.node_problem import Problem, Split


def problem() -> Problem:
    y = torch.tensor([0, 1] * 4)
    asked = torch.arange(8) >= 4
    return Problem.of(torch.eye(8), y, Split(asked.logical_not(), torch.zeros(8).bool(), asked))


def by_place(nodes):
    return torch.stack([torch.arange(8.0), 3.5 + torch.zeros(8)], dim=1)


def test_who_looks_at_the_place_is_found_out_and_who_looks_at_features_is_not():
    found = node_invariance(problem(), by_place, 20, seed=0)
    assert 20 < found["changed"] < 80
    assert found["largest"] > 1
    steady = node_invariance(problem(), lambda nodes: nodes.x[:, :2], 20, seed=0)
    assert steady == {"changed": 0.0, "largest": 0.0}


def test_the_seed_decides_and_no_order_says_nothing():
    one, same = (node_invariance(problem(), by_place, 3, seed=4) for _ in range(2))
    assert one == same
    assert node_invariance(problem(), by_place, 0, seed=0) == {}

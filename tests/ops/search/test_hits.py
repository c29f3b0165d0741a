import torch

from structformer.ops.search.hits import share_found


def test_counts_what_was_found_and_takes_ties_for_right():
    key = torch.tensor([[3.0], [2.0], [2.0], [1.0], [0.0]])
    query = torch.ones(5, 1)
    exact = torch.tensor([[0, 1]] * 4 + [[5, 5]])
    found = torch.tensor([[0, 1], [0, 2], [0, 3], [5, 4], [5, 5]])
    assert share_found(query, key, found, exact).tolist() == [1.0, 1.0, 0.5, 0.0, 1.0]


def test_fewer_candidates_than_wanted():
    key = torch.tensor([[3.0], [2.0]])
    exact = torch.tensor([[0, 2, 2]])
    assert share_found(torch.ones(1, 1), key, torch.tensor([[0, 1, 2]]), exact).tolist() == [1.0]
    assert share_found(torch.ones(1, 1), key, torch.tensor([[1, 2, 2]]), exact).tolist() == [0.0]

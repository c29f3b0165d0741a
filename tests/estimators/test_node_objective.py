import torch

from structformer.estimators.node_objective import one_hot, rarest


def test_one_hot_has_no_ones_where_nothing_is_known():
    assert one_hot(torch.tensor([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_the_rarest_class_is_that_of_fewest_known_labels():
    assert rarest(torch.tensor([1, 0, 1, -1, -1, 0, 1]), 2) == 2
    assert rarest(torch.tensor([1, -1]), 2) == 0

import numpy as np
import pytest
import torch

from structformer.estimators.parts import joined, split
from structformer.graph import TokenGraph


def test_a_split_holds_every_thing_once():
    train, held = split(53, 0.2, None, seed=3)
    assert len(held) == 11
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(53))
    again = split(53, 0.2, None, seed=3)
    assert again[1].equal(held)
    assert not split(53, 0.2, None, seed=4)[1].equal(held)


def test_classes_are_held_out_alike():
    labels = np.array([0] * 40 + [1] * 10 + [2] * 3)
    train, held = split(53, 0.2, labels, seed=0)
    assert np.bincount(labels[held]).tolist() == [8, 2, 1]
    assert set(labels[train]) == {0, 1, 2}


def test_a_class_of_one_is_no_obstacle():
    labels = np.array([0] * 30 + [1])
    train, held = split(31, 0.1, labels, seed=0)
    assert (len(train), len(held)) == (28, 3)


def test_a_small_share_still_holds_out_every_class():
    labels = np.arange(21) % 7
    train, held = split(21, 0.05, labels, seed=0)
    assert sorted(labels[held]) == list(range(7))
    assert len(train) == 14


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=rf"validation_fraction must be in \[0, 1\) \(got {share}\)"):
        split(30, share, None, seed=0)


def part(rowptr, col, weight, sources):
    given = torch.tensor([True] * len(col)) if len(col) else torch.zeros(0, dtype=torch.bool)
    return TokenGraph(torch.tensor(rowptr), torch.tensor(col, dtype=torch.long), sources, weight, given)


def test_graphs_over_common_sources_are_stacked():
    one = part([0, 2, 3], [0, 4, 1], torch.tensor([0.5, 0.5, 1.0]), 5)
    two = part([0, 1], [2], torch.tensor([1.0]), 5)
    both = joined([one, two], [0, 0], 5, names=["a", "b", "c"])
    assert both.to_scipy().toarray().tolist() == [
        [0.5, 0, 0, 0, 0.5],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
    ]
    assert both.names == ["a", "b", "c"]
    assert both.given is not None
    assert both.given.all()


def test_graphs_over_sources_of_their_own_are_shifted():
    one = part([0, 1, 2], [1, 0], None, 2)
    two = part([0, 0, 1], [0], None, 2)
    both = joined([one, two], [0, 2], 4)
    assert both.col.tolist() == [1, 0, 2]
    assert both.rowptr.tolist() == [0, 1, 2, 2, 3]
    assert both.weight is None

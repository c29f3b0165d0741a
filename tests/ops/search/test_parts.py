import torch

from structformer.ops.search.parts import Parts, in_time, spread


def test_halves_cover_every_target_once():
    sets = torch.tensor([[0, 101], [101, 108], [108, 331]])
    early, rows, cols = in_time(sets, sets, 13)
    assert torch.equal(torch.cat([spread(early), spread(rows)]).sort().values, torch.arange(331))
    assert (early.diff() <= 13).all()
    assert torch.equal(early[:, 0], sets[:, 0])
    assert torch.equal(rows[:, 1], cols[:, 1])
    # A target may listen to at least half of the sources of its part, and they begin where its set does.
    assert (2 * (rows[:, 0] - cols[:, 0]) + 1 >= cols.diff()[:, 0]).all()
    assert set(cols[:, 0].tolist()) == {0, 108}


def test_spread():
    assert spread(torch.tensor([[3, 5], [7, 7], [1, 4]])).tolist() == [3, 4, 1, 2, 3]


def test_candidates():
    x, span = torch.zeros(5, 2), torch.tensor([[0, 5]])
    assert Parts(x, x, span, span, 3, True, True, True).num_candidates().tolist() == [0, 1, 2, 3, 3]
    assert Parts(x, x, span, span, 3, False, True, True).num_candidates().tolist() == [3] * 5

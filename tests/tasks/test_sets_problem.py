import torch
from structformer.tasks.sets_numbers import MaxRegression
from structformer.tasks.sets_problem import EACH, SetBatch, boundaries, joined


def batch(sizes):
    ptr = boundaries(torch.tensor(sizes))
    x = torch.arange(int(ptr[-1]), dtype=torch.float32)[:, None]
    return SetBatch(x, ptr, torch.tensor(sizes))


def test_shuffling_keeps_every_token_in_its_set_and_moves_most():
    sets = batch([1, 50, 3, 200])
    other = sets.shuffled(torch.Generator().manual_seed(0))
    assert other.ptr.equal(sets.ptr)
    assert other.target.equal(sets.target)
    for first, last in zip(sets.ptr[:-1].tolist(), sets.ptr[1:].tolist(), strict=True):
        assert other.x[first:last, 0].sort().values.equal(sets.x[first:last, 0])
    assert float((other.x != sets.x).double().mean()) > 0.9


def test_joining_packs_sets_one_after_another():
    both = joined([batch([2, 3]), batch([4])])
    assert both.ptr.tolist() == [0, 2, 5, 9]
    assert both.x[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert both.target.tolist() == [2, 3, 4]
    assert both.index.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_sets_to_judge_by_come_in_batches():
    drawn = torch.Generator().manual_seed(0)
    found = MaxRegression().draw_many(1, EACH + 7, drawn)
    assert [len(one.target) for one in found] == [EACH, 7]
    assert not found[0].target[:7].equal(found[1].target)


def test_numbers_change_when_they_are_far_enough_apart():
    outputs = torch.zeros(3, 2)
    others = torch.tensor([[0.0, 1e-9], [0.0, 2e-3], [-1.0, 0.0]])
    assert MaxRegression().changed(outputs, others).tolist() == [False, True, True]

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.nn import MixturePooling
from structformer.nn.mixture_pooling import farthest_first

CHANNELS, PARTS, ROUNDS, WIDTH = 2, 3, 4, 5
PTR = torch.tensor([0, 9, 9, 10, 21])  # sets of 9, 0, 1 and 11 tokens


def places(rng):
    return torch.randn(21, CHANNELS, generator=rng, dtype=torch.float64)


def pooling():
    pool = MixturePooling(PARTS, ROUNDS).double()
    with torch.no_grad():
        pool.log_ratio += 0.2
        pool.log_prior -= 0.3
    return pool


def twin(pool, x):
    """One set, part by part and token by token."""
    ratio, prior = pool.log_ratio.exp(), pool.log_prior.exp()
    first = ((x - x.mean(0)) ** 2).mean() * ratio**2 + pool.LEAST**2
    middle = (x.amax(0) + x.amin(0)) / 2
    chosen = [int(((x - middle) ** 2).sum(1).argmax())]
    while len(chosen) < pool.parts:
        away = torch.stack([((x - x[i]) ** 2).sum(1) for i in chosen]).amin(0)
        chosen.append(int(away.argmax()))
    gaussians = [
        (torch.tensor(1 / pool.parts, dtype=x.dtype), x[i], first.expand(x.shape[1])) for i in chosen
    ]
    for _ in range(pool.rounds):
        density = torch.stack(
            [
                weight * torch.exp(-((x - mean) ** 2 / square).sum(1) / 2) / square.prod().sqrt()
                for weight, mean, square in gaussians
            ],
            dim=1,
        )
        share = density / density.sum(1, keepdim=True)
        found = []
        for part, (_, mean, _) in enumerate(gaussians):
            own = share[:, part]
            amount = own.sum() + prior
            moved = (own @ x + prior * mean) / amount
            square = (own @ (x - moved) ** 2 + prior * first) / amount
            found.append((amount / (len(x) + pool.parts * prior), moved, square))
        gaussians = found
    weight, mean, square = (torch.stack(some) for some in zip(*gaussians, strict=True))
    return share, torch.cat([weight.log()[:, None], mean, square.log() / 2], dim=1)


def test_equals_the_twin_set_by_set_with_gradients(rng):
    pool, x = pooling(), places(rng).requires_grad_()
    h = torch.randn(21, WIDTH, generator=rng, dtype=torch.float64, requires_grad=True)
    found = pool(x, PTR)
    ours = [found.statistics, found.average(h, PTR)]
    theirs = [twin(pool, x[first:last]) for first, last in ((0, 9), (10, 21))]
    averages = [
        share.T @ h[first:last] / share.sum(0)[:, None]
        for (share, _), (first, last) in zip(theirs, ((0, 9), (10, 21)), strict=True)
    ]
    expected = [torch.stack([statistics for _, statistics in theirs]), torch.stack(averages)]
    torch.testing.assert_close(found.share[:9], theirs[0][0], rtol=1e-9, atol=1e-12)
    inputs = [x, h, *pool.parameters()]
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine[[0, 3]], other, rtol=1e-9, atol=1e-11)
    gradients = [
        torch.autograd.grad(sum(one.square().sum() for one in some), inputs)
        for some in ([one[[0, 3]] for one in ours], expected)
    ]
    torch.testing.assert_close(*gradients)
    assert all(grad.abs().sum() > 0 for grad in gradients[0])


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_the_order_of_tokens_changes_nothing(seed, shuffled):
    pool, x = pooling(), places(torch.Generator().manual_seed(seed))
    perm = shuffled(PTR, seed)
    expected, found = pool(x, PTR), pool(x[perm], PTR)
    torch.testing.assert_close(found.statistics, expected.statistics, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.share, expected.share[perm], rtol=0, atol=1e-9)


def test_neither_does_it_where_tokens_are_equally_far(rng):
    corners = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1], [0, 0], [1, 1]]).double()
    pool, ptr = pooling(), torch.tensor([0, 6])
    expected = pool(corners, ptr).statistics
    for _ in range(20):
        perm = torch.randperm(6, generator=rng)
        torch.testing.assert_close(pool(corners[perm], ptr).statistics, expected, rtol=0, atol=1e-12)


def test_a_set_hears_nothing_of_the_others(rng):
    pool, x = pooling(), places(rng).requires_grad_()
    found = pool(x, PTR).statistics
    (grad,) = torch.autograd.grad(found[3].square().sum(), x, retain_graph=True)
    assert (grad[:10] == 0).all()
    assert grad[10:].abs().sum() > 0
    alone = pool(x[10:], torch.tensor([0, 11])).statistics
    torch.testing.assert_close(alone[0], found[3], rtol=0, atol=1e-12)


def test_parts_far_apart_are_told_apart(rng):
    centre = torch.tensor([[-3.0, 0], [3, 0], [0, 3]])
    belongs = torch.arange(3).repeat_interleave(torch.tensor([2, 40, 90]))
    x = centre[belongs] + 0.1 * torch.randn(132, 2, generator=rng)
    found = MixturePooling(3)(x, torch.tensor([0, 132]))
    assert found.share.amax(1).min() > 0.999
    part = [int(found.share[belongs == one].mean(0).argmax()) for one in range(3)]
    assert sorted(part) == [0, 1, 2]
    torch.testing.assert_close(found.mean[0, part], centre, rtol=0, atol=0.2)
    weight = found.log_weight[0, part].exp()
    torch.testing.assert_close(weight, torch.tensor([2, 40, 90]) / 132, rtol=0, atol=0.01)


def test_tokens_begin_parts_far_from_each_other():
    x = torch.tensor([[0.0], [1], [4], [10], [7], [-1], [5], [5]])
    chosen = farthest_first(x, torch.tensor([0, 6, 8]), 3)
    # The middle of the first set is 4.5; both its ends are equally far from it, and the larger is taken.
    assert x[chosen[0]].flatten().tolist() == [10, -1, 4]
    assert x[chosen[1]].flatten().tolist() == [5, 5, 5]


def test_sets_with_too_few_tokens(rng):
    x = places(rng)
    found = pooling()(x, PTR)
    assert (found.mean[1] == 0).all()
    torch.testing.assert_close(found.log_weight[1], torch.full((3,), -math.log(3)).double())
    torch.testing.assert_close(found.mean[2], x[9].expand(PARTS, -1))
    assert found.average(torch.ones(21, WIDTH).double(), PTR)[1].abs().sum() == 0
    assert found.statistics.isfinite().all()


def test_no_tokens_at_all():
    pool = MixturePooling(PARTS)
    found = pool(torch.zeros(0, CHANNELS), torch.tensor([0, 0, 0]))
    assert found.statistics.shape == (2, PARTS, 1 + 2 * CHANNELS)
    assert found.statistics.isfinite().all()
    assert found.average(torch.zeros(0, WIDTH), torch.tensor([0, 0, 0])).shape == (2, PARTS, WIDTH)


@pytest.mark.parametrize("name", ["parts", "rounds"])
def test_bad_sizes_are_named(name):
    with pytest.raises(ValueError, match=rf"{name} must be at least 1 \(got 0\)"):
        MixturePooling(**{"parts": 2, name: 0})

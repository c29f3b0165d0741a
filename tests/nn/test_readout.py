import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.nn import SetPooling

HEADS, CHANNELS, SEEDS = 3, 5, 2
WIDTH = HEADS * CHANNELS
PTR = torch.tensor([0, 7, 7, 8, 19])  # sets of 7, 0, 1 and 11 tokens


def states(rng):
    return torch.randn(19, WIDTH, generator=rng, dtype=torch.float64)


def pooling():
    return SetPooling(WIDTH, HEADS, SEEDS).double()


def twin(pool, h):
    """One set, seed by seed and head by head."""
    key, value = pool.key(h), pool.value(h)
    parts = []
    for head in range(HEADS):
        part = slice(head * CHANNELS, (head + 1) * CHANNELS)
        for seed in range(SEEDS):
            scores = key[:, part] @ pool.seed[head, seed] / math.sqrt(CHANNELS)
            parts.append(scores.softmax(0) @ value[:, part])
    return pool.output(torch.cat([*parts, value.mean(0), value.amax(0)]))


def test_equals_the_twin_set_by_set_with_gradients(rng):
    pool, h = pooling(), states(rng).requires_grad_()
    ours = pool(h, PTR)
    assert torch.equal(ours[1], pool.output.bias), "an empty set reads as zeros"
    theirs = torch.stack([twin(pool, h[:7]), twin(pool, h[7:8]), twin(pool, h[8:])])
    torch.testing.assert_close(ours[[0, 2, 3]], theirs, rtol=1e-10, atol=1e-12)
    inputs = [h, *pool.parameters()]
    found = torch.autograd.grad(ours[[0, 2, 3]].square().sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(theirs.square().sum(), inputs))
    assert all(grad.abs().sum() > 0 for grad in found)


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_the_order_of_tokens_changes_nothing(seed, shuffled):
    pool, h = pooling(), states(torch.Generator().manual_seed(seed))
    torch.testing.assert_close(pool(h[shuffled(PTR, seed)], PTR), pool(h, PTR), rtol=0, atol=1e-9)


def test_a_set_hears_nothing_of_the_others(rng):
    h = states(rng).requires_grad_()
    (grad,) = torch.autograd.grad(pooling()(h, PTR)[2].sum(), h)
    assert (grad[:7] == 0).all()
    assert (grad[8:] == 0).all()


def test_a_token_that_is_not_a_number_is_not_hidden(rng):
    h = states(rng)
    h[3] = float("nan")
    assert pooling()(h, PTR)[0].isnan().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 15, "heads": 4}, r"heads must divide width \(got heads=4, width=15\)"),
        ({"width": 15, "heads": 3, "seeds": 0}, r"seeds must be at least 1 \(got 0\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SetPooling(**arguments)

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.nn.packed import ChunkLayout, set_bounds

HEADS, CHANNELS = 2, 3


def bounds(lengths):
    return torch.tensor([0, *lengths]).cumsum(0)


def rows(tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, HEADS, CHANNELS, generator=generator, dtype=torch.float64)


def twin(ptr, x, chunk):
    """Chunks in the order of the docstring, set by set and token by token."""
    lengths = ptr.diff().tolist()
    chunk = max(1, min(chunk, max(lengths, default=0)))
    counts = [math.ceil(length / chunk) for length in lengths]
    first = sorted(range(len(lengths)), key=lambda s: -counts[s])
    chunks = []
    for number in range(max(counts, default=0)):
        for s in first:
            own = x[ptr[s] : ptr[s + 1]][number * chunk : (number + 1) * chunk]
            if len(own):
                chunks.append(torch.cat([own, x.new_zeros(chunk - len(own), *x.shape[1:])]))
    return torch.stack(chunks).transpose(1, 2) if chunks else x.new_zeros(0, HEADS, chunk, CHANNELS)


def test_one_set_where_no_bounds_are_given():
    assert set_bounds(None, torch.zeros(7, 2)).tolist() == [0, 7]
    assert set_bounds(None, torch.zeros(0, 2)).tolist() == [0, 0]


@pytest.mark.parametrize("ptr", [[0, 7], [0, 3, 3, 7], [0, 0, 7, 7]])
def test_good_bounds_are_left_as_they_are(ptr):
    assert set_bounds(torch.tensor(ptr), torch.zeros(7, 2)).tolist() == ptr


def test_no_sets_have_bounds_too():
    assert set_bounds(torch.tensor([0]), torch.zeros(0, 2)).tolist() == [0]


@pytest.mark.parametrize("ptr", [[], [7], [1, 7], [0, 6], [0, 8], [0, 5, 3, 7]])
def test_bad_bounds_are_named(ptr):
    with pytest.raises(ValueError, match=r"ptr must rise from 0 to the number of tokens, 7 \(got \["):
        set_bounds(torch.tensor(ptr, dtype=torch.long), torch.zeros(7, 2))


def test_places_by_hand():
    # Sets of 5, 0, 3 and 1 tokens in chunks of 2: three first chunks, two second ones, one third.
    layout = ChunkLayout.of(bounds([5, 0, 3, 1]), 2)
    assert layout.chunk == 2
    assert layout.active == [3, 2, 1]
    assert layout.order.tolist() == [0, 2, 3, 1]
    assert layout.place.tolist() == [0, 1, 6, 7, 10, 2, 3, 8, 4]


def test_a_chunk_is_no_longer_than_the_longest_set():
    layout = ChunkLayout.of(bounds([2, 5, 3]), 64)
    assert layout.chunk == 5
    assert layout.active == [3]


@given(lengths=st.lists(st.integers(0, 17), max_size=7), chunk=st.integers(1, 19))
@settings(deadline=None, max_examples=60)
def test_entering_equals_the_twin_and_leaving_undoes_it(lengths, chunk):
    ptr = bounds(lengths)
    x = rows(int(ptr[-1]))
    layout = ChunkLayout.of(ptr, chunk)
    entered = layout.enter(x)
    assert torch.equal(entered, twin(ptr, x, chunk))
    assert len(entered) == sum(layout.active)
    assert torch.equal(layout.leave(entered), x)


def test_rows_of_any_shape_enter():
    ptr = bounds([4, 7])
    layout = ChunkLayout.of(ptr, 3)
    x = rows(11)
    assert torch.equal(layout.enter(x[..., 0]), layout.enter(x)[..., 0])
    wide = x[..., None] * torch.arange(5)
    assert torch.equal(layout.enter(wide)[..., 4], 4 * layout.enter(x))


def test_gradients_pass_and_what_fills_up_has_none():
    ptr, x = bounds([5, 0, 3, 1]), rows(9).requires_grad_()
    layout, upstream = ChunkLayout.of(ptr, 2), rows(9, seed=1)
    (grad,) = torch.autograd.grad((layout.leave(layout.enter(x)) * upstream).sum(), x)
    assert torch.equal(grad, upstream)
    entered = layout.enter(x)
    (grad,) = torch.autograd.grad(layout.leave(entered).sum(), entered)
    owner = layout.enter(torch.ones_like(x))
    assert torch.equal(grad, owner)


def test_sets_follow_each_other_from_chunk_to_chunk():
    ptr = bounds([5, 0, 11, 1, 8])
    layout = ChunkLayout.of(ptr, 3)
    number = torch.cat([torch.full((b - a,), float(s)) for s, (a, b) in enumerate(pairwise(ptr.tolist()))])
    entered = layout.enter(number[:, None] + 1)[:, 0, 0] - 1
    for owners in entered.split(layout.active):
        assert owners.tolist() == layout.order[: len(owners)].tolist()

import pytest
import torch
from structformer.tasks.baselines.chunks import from_chunks, states_before, to_chunks

BATCH, HEADS, CHANNELS, VALUES = 2, 3, 5, 7


def drawn(rng, *shape):
    return torch.randn(BATCH, HEADS, *shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(("length", "size", "chunks"), [(13, 5, 3), (15, 5, 3), (4, 5, 1), (13, 1, 13)])
def test_chunks_hold_the_tokens_in_order_and_zeros_behind_them(length, size, chunks, rng):
    x = drawn(rng, length, CHANNELS)
    cut = to_chunks(x, size)
    assert cut.shape == (BATCH, HEADS, chunks, size, CHANNELS)
    for token in range(length):
        assert torch.equal(cut[:, :, token // size, token % size], x[:, :, token])
    assert not cut.flatten(2, 3)[:, :, length:].any()
    assert torch.equal(from_chunks(cut, length), x)


@pytest.mark.parametrize("chunks", [1, 2, 11])
def test_states_are_carried_from_chunk_to_chunk(chunks, rng):
    transition, update = drawn(rng, chunks, CHANNELS, CHANNELS) / 2, drawn(rng, chunks, CHANNELS, VALUES)
    states = states_before(transition, update)
    assert states.shape == update.shape
    state = torch.zeros(BATCH, HEADS, CHANNELS, VALUES, dtype=torch.float64)
    for chunk in range(chunks):
        torch.testing.assert_close(states[:, :, chunk], state)
        state = torch.einsum("bhij,bhjv->bhiv", transition[:, :, chunk], state) + update[:, :, chunk]

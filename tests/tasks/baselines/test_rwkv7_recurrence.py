import pytest
import torch
from structformer.tasks.baselines.rwkv7_recurrence import FASTEST, LONGEST, rwkv7_chunks, rwkv7_recurrence
from torch.nn import functional as F

BATCH, HEADS, CHANNELS, VALUES = 2, 3, 5, 7


def drawn(rng, length, batch=BATCH, heads=HEADS):
    """Receptances, logarithms of decays, removal keys of length 1, rates, keys and values."""

    def normal(channels=CHANNELS):
        return torch.randn(batch, heads, length, channels, generator=rng, dtype=torch.float64)

    # Some channels hardly decay, others almost as fast as RWKV-7 can.
    log_decay = -FASTEST * (3 * normal()).sigmoid()
    removal = F.normalize(normal(), dim=-1)
    parts = normal(), log_decay, removal, normal().sigmoid(), normal(), normal(VALUES)
    return [part.requires_grad_() for part in parts]


@pytest.mark.parametrize(
    ("length", "chunk"), [(1, 32), (31, 32), (32, 32), (33, 32), (71, 32), (23, 7), (13, 1), (131, LONGEST)]
)
def test_chunks_equal_the_published_recurrence_in_values_and_gradients(length, chunk, rng):
    inputs = drawn(rng, length)
    out, expected = rwkv7_chunks(*inputs, chunk=chunk), rwkv7_recurrence(*inputs)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(out.shape, generator=rng, dtype=torch.float64)
    grads = torch.autograd.grad(out, inputs, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, inputs, upstream), rtol=1e-9, atol=1e-9)


def test_derivatives_are_those_of_differences(rng):
    inputs = drawn(rng, 5, batch=1, heads=1)
    assert torch.autograd.gradcheck(lambda *parts: rwkv7_chunks(*parts, chunk=3), inputs)


def test_the_recurrence_is_the_published_product_of_matrices(rng):
    inputs = drawn(rng, 11)
    out = rwkv7_recurrence(*inputs)
    receptance, log_decay, removal, rate, key, value = (part[1, 2] for part in inputs)
    state = torch.zeros(VALUES, CHANNELS, dtype=torch.float64)
    for t in range(11):
        # S_t = S_{t−1} (diag(w_t) − κ̂_tᵀ (a_t ⊙ κ̂_t)) + v_tᵀ k̃_t
        transition = torch.diag(log_decay[t].exp()) - torch.outer(removal[t], rate[t] * removal[t])
        state = state @ transition + torch.outer(value[t], key[t])
        torch.testing.assert_close(out[1, 2, t], state @ receptance[t])


def test_the_recurrence_by_hand():
    # w = (1, 1/2); κ̂ = (1, 0) with a = (1/2, 1): half of what the first channel holds goes, and nothing else.
    decay = torch.tensor([[1.0, 0.5]] * 3, dtype=torch.float64)
    removal = torch.tensor([[1.0, 0]] * 3, dtype=torch.float64)
    rate = torch.tensor([[0.5, 1.0]] * 3, dtype=torch.float64)
    key = torch.tensor([[1.0, 2], [0, 0], [0, 1]], dtype=torch.float64)
    value = torch.tensor([[4.0], [9], [1]], dtype=torch.float64)
    receptance = torch.tensor([[1.0, 1], [1, 0], [0, 1]], dtype=torch.float64)
    # S₁ = (4, 8), S₂ = (2, 4), S₃ = (1, 2 + 1).
    inputs = [part[None, None] for part in (receptance, decay.log(), removal, rate, key, value)]
    expected = torch.tensor([[12.0], [2], [3]], dtype=torch.float64)
    torch.testing.assert_close(rwkv7_recurrence(*inputs)[0, 0], expected)


@pytest.mark.parametrize("chunk", [32, LONGEST])
@pytest.mark.parametrize("share", [0.0, 1e-3, 1.0])
def test_the_extremes_of_decay_in_short_numbers(chunk, share, rng):
    inputs = drawn(rng, 257)
    inputs[1] = torch.full_like(inputs[1], -FASTEST * share).requires_grad_()
    expected = rwkv7_recurrence(*inputs)
    short = [part.detach().float().requires_grad_() for part in inputs]
    out = rwkv7_chunks(*short, chunk=chunk)
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.sum(), short))


def test_later_tokens_change_nothing_not_even_the_rounding(rng):
    inputs = [part.detach() for part in drawn(rng, 67)]
    changed = [part.clone() for part in inputs]
    for part, other in zip(changed, drawn(rng, 67), strict=True):
        part[:, :, 37:] = other[:, :, 37:].detach()
    out, again = rwkv7_chunks(*inputs), rwkv7_chunks(*changed)
    assert torch.equal(again[:, :, :37], out[:, :, :37])
    assert not torch.allclose(again[:, :, 37], out[:, :, 37])

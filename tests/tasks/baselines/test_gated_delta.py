import math

import pytest
import torch
from structformer.tasks.baselines.gated_delta import (
    GatedDelta,
    GatedDeltaConfig,
    GatedDeltaNet,
    gated_delta,
    gated_delta_recurrence,
)
from structformer.tasks.baselines.text import TextConfig
from torch.nn import functional as F

BATCH, HEADS, CHANNELS, VALUES = 2, 3, 5, 7
WIDTH = HEADS * CHANNELS
CONFIG = TextConfig(vocabulary=11, width=WIDTH, heads=HEADS)


def drawn(rng, length, batch=BATCH, heads=HEADS, fastest=1.0):
    """Queries, keys of length 1, values, logarithms of decays and rates up to 2."""

    def normal(*shape):
        return torch.randn(batch, heads, length, *shape, generator=rng, dtype=torch.float64)

    log_decay = -fastest * torch.rand(batch, heads, length, generator=rng, dtype=torch.float64)
    parts = normal(CHANNELS), F.normalize(normal(CHANNELS), dim=-1), normal(VALUES), log_decay
    return [part.requires_grad_() for part in (*parts, 2 * normal().sigmoid())]


@pytest.mark.parametrize(
    ("length", "chunk"), [(1, 32), (31, 32), (32, 32), (33, 32), (71, 32), (23, 7), (13, 1)]
)
def test_chunks_equal_the_published_recurrence_in_values_and_gradients(length, chunk, rng):
    inputs = drawn(rng, length)
    out, expected = gated_delta(*inputs, chunk=chunk), gated_delta_recurrence(*inputs)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(out.shape, generator=rng, dtype=torch.float64)
    grads = torch.autograd.grad(out, inputs, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, inputs, upstream), rtol=1e-9, atol=1e-9)


def test_derivatives_are_those_of_differences(rng):
    inputs = drawn(rng, 5, batch=1, heads=1)
    assert torch.autograd.gradcheck(lambda *parts: gated_delta(*parts, chunk=3), inputs)


def test_the_recurrence_by_hand():
    # One head of two channels; α = 1, 1/2, 1 and β = 1, 1/2, 1/4.
    key = torch.tensor([[1.0, 0], [0.6, 0.8], [1, 0]], dtype=torch.float64)
    query = torch.tensor([[1.0, 0], [1, 0], [0, 1]], dtype=torch.float64)
    value = torch.tensor([[3.0], [1], [-1]], dtype=torch.float64)
    log_decay = torch.tensor([1.0, 0.5, 1], dtype=torch.float64).log()
    rate = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    # S₁ = (3, 0). S₂ = (1.5, 0) + ½ (1 − 0.9)(0.6, 0.8) = (1.53, 0.04). S₃ = S₂ + ¼ (−1 − 1.53)(1, 0), read by (0, 1).
    expected = torch.tensor([[3.0], [1.53], [0.04]], dtype=torch.float64)
    inputs = [part[None, None] for part in (query, key, value, log_decay, rate)]
    torch.testing.assert_close(gated_delta_recurrence(*inputs)[0, 0], expected)


def test_a_key_that_comes_again_gets_its_new_value_and_all_decays(rng):
    _, key, value, _, _ = drawn(rng, 3)
    key = key[:, :, :1].expand_as(key)
    never = torch.zeros(BATCH, HEADS, 3, dtype=torch.float64)
    fully = never + 1
    torch.testing.assert_close(gated_delta(key, key, value, never, fully), value)
    turned = gated_delta(key, key, value, never, 2 * fully)
    torch.testing.assert_close(turned[:, :, 1], 2 * (value[:, :, 1] - value[:, :, 0]))
    # The last token writes nothing and finds what is left of the one before it.
    log_decay, rate = never.clone(), fully.clone()
    log_decay[..., 2], rate[..., 2] = math.log(0.3), 0
    torch.testing.assert_close(gated_delta(key, key, value, log_decay, rate)[:, :, 2], 0.3 * value[:, :, 1])


def test_fast_decay_and_short_numbers_stay_close(rng):
    for fastest in (0.1, 50.0):
        inputs = drawn(rng, 257, fastest=fastest)
        expected = gated_delta_recurrence(*inputs)
        short = [part.detach().float().requires_grad_() for part in inputs]
        out = gated_delta(*short)
        torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.sum(), short))


@pytest.mark.parametrize(
    "own", [GatedDeltaConfig(), GatedDeltaConfig(convolution=0), GatedDeltaConfig(expansion=2, negative=True)]
)
def test_the_layer_is_the_published_one(own, rng):
    mixer = GatedDelta(CONFIG, own).double()
    x = torch.randn(BATCH, 13, WIDTH, generator=rng, dtype=torch.float64)
    made = x @ mixer.project.weight.T
    if own.convolution:
        weight = mixer.convolution.weight
        made = torch.stack(
            [sum(weight[d] * made[:, i - d] for d in range(4) if d <= i) for i in range(13)], dim=1
        )
    made = made * made.sigmoid()
    sizes = [WIDTH, WIDTH, own.expansion * WIDTH]
    query, key, value = (part.reshape(BATCH, 13, HEADS, -1) for part in made.split(sizes, dim=-1))
    query, key = (part / part.norm(dim=-1, keepdim=True) for part in (query, key))
    dt, beta = (x @ mixer.gates.weight.T).split(HEADS, dim=-1)
    alpha = (-mixer.log_speed.exp() * (1 + (dt + mixer.step).exp()).log()).exp()
    beta = beta.sigmoid() * (2 if own.negative else 1)
    heard = torch.zeros(BATCH, 13, HEADS, own.expansion * CHANNELS, dtype=torch.float64)
    for b in range(BATCH):
        for h in range(HEADS):
            state = torch.zeros(own.expansion * CHANNELS, CHANNELS, dtype=torch.float64)
            for t in range(13):
                k, v = key[b, t, h], value[b, t, h]
                state = alpha[b, t, h] * state @ (torch.eye(CHANNELS) - beta[b, t, h] * torch.outer(k, k))
                state = state + beta[b, t, h] * torch.outer(v, k)
                heard[b, t, h] = state @ query[b, t, h] / math.sqrt(CHANNELS)
    heard = heard / (heard.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    gate = x @ mixer.gate.weight.T
    expected = (heard.flatten(2) * gate * gate.sigmoid()) @ mixer.output.weight.T
    torch.testing.assert_close(mixer(x)[0], expected, rtol=1e-8, atol=1e-9)


def test_decay_begins_as_in_the_authors_code():
    mixer = GatedDelta(TextConfig(vocabulary=11, width=2_018, heads=1_009), GatedDeltaConfig())
    speed, step = mixer.log_speed.detach().exp(), F.softplus(mixer.step).detach()
    assert 0 < speed.min() < 0.5
    assert 15.5 < speed.max() <= 16
    assert speed.mean().item() == pytest.approx(8, abs=0.7)
    # Log-uniform from 0.001 to 0.1.
    assert 0.001 * 0.999 < step.min() < 0.0012
    assert 0.09 < step.max() < 0.1 * 1.001
    assert step.log10().mean().item() == pytest.approx(-2, abs=0.1)


def test_what_only_this_arm_has_reaches_its_mixers():
    model = GatedDeltaNet(CONFIG, GatedDeltaConfig(expansion=2))
    assert [block.mixer.own.expansion for block in model.blocks] == [2, 2]
    assert model.blocks[0].mixer.output.weight.shape == (WIDTH, 2 * WIDTH)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"convolution": -1}, r"convolution must be at least 0 \(got -1\)"),
        ({"expansion": 0}, r"expansion must be at least 1 \(got 0\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GatedDeltaConfig(**arguments)

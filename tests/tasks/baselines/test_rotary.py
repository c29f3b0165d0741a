import math

import pytest
import torch
from structformer.tasks.baselines.rotary import RotaryAttention, from_heads, rotate, to_heads
from structformer.tasks.baselines.text import TextConfig
from torch import nn

BATCH, LENGTH, HEADS, CHANNELS = 2, 13, 3, 10
WIDTH = HEADS * CHANNELS
CONFIG = TextConfig(vocabulary=7, width=WIDTH, heads=HEADS)


def drawn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def attend(mixer, x):
    """The published equations, one query after the other."""
    turn = rotate if mixer.rotary else lambda part: part
    query, key, value = (
        part.view(BATCH, LENGTH, HEADS, CHANNELS) for part in mixer.project(x).chunk(3, dim=-1)
    )
    query, key = (turn(part.transpose(1, 2)).transpose(1, 2) for part in (query, key))
    out = []
    for i in range(LENGTH):
        scores = torch.einsum("bhc,bjhc->bhj", query[:, i], key[:, : i + 1]) / math.sqrt(CHANNELS)
        out.append(torch.einsum("bhj,bjhc->bhc", scores.softmax(-1), value[:, : i + 1]).flatten(1))
    return mixer.output(torch.stack(out, dim=1))


@pytest.mark.parametrize("rotary", [True, False])
def test_values_and_gradients_equal_the_naive_twin(rotary, rng):
    mixer, x = RotaryAttention(CONFIG, rotary).double(), drawn(rng, BATCH, LENGTH, WIDTH).requires_grad_()
    out, expected, upstream = mixer(x)[0], attend(mixer, x), drawn(rng, BATCH, LENGTH, WIDTH)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    wanted = [x, *mixer.parameters()]
    grads = torch.autograd.grad(out, wanted, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, wanted, upstream), rtol=1e-8, atol=1e-9)


def test_without_rotation_it_is_torchs_attention(rng):
    mixer = RotaryAttention(CONFIG, rotary=False).double()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True).double()
    theirs.load_state_dict(
        {"in_proj_weight": mixer.project.weight, "out_proj.weight": mixer.output.weight}, strict=True
    )
    x, later = drawn(rng, BATCH, LENGTH, WIDTH), torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    expected = theirs(x, x, x, attn_mask=later, need_weights=False)[0]
    torch.testing.assert_close(mixer(x)[0], expected, rtol=1e-9, atol=1e-10)


def test_products_depend_on_how_far_apart_the_positions_are(rng):
    query, key = drawn(rng, 2, CHANNELS)
    turned = [rotate(x.expand(101, CHANNELS)) for x in (query, key)]
    products = turned[0] @ turned[1].T
    for distance in (-37, -1, 0, 5, 53):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0].diff().abs().min() > 0
    torch.testing.assert_close(products[17, 17], query @ key)


def test_the_published_angles_by_hand():
    # Four channels are two pairs, (0, 2) and (1, 3), which turn by i and by i / 100.
    x = torch.tensor([[9.0, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9], [1, 0, 0, 1]], dtype=torch.float64)
    expected = torch.tensor([math.cos(3), -math.sin(0.03), math.sin(3), math.cos(0.03)], dtype=torch.float64)
    torch.testing.assert_close(rotate(x)[3], expected)
    torch.testing.assert_close(rotate(x)[0], x[0])
    torch.testing.assert_close(rotate(x, base=1.0)[3, 1], torch.tensor(-math.sin(3), dtype=torch.float64))


def test_late_positions_are_told_apart_in_short_numbers():
    turned = rotate(torch.ones(1_009, CHANNELS, dtype=torch.bfloat16))
    exact = rotate(torch.ones(1_009, CHANNELS, dtype=torch.float64))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.double(), exact, rtol=0, atol=0.02)


def test_heads_are_put_side_by_side_again(rng):
    x = drawn(rng, BATCH, LENGTH, WIDTH)
    heads = to_heads(x, HEADS)
    assert heads.shape == (BATCH, HEADS, LENGTH, CHANNELS)
    assert torch.equal(heads[1, 2, 5], x[1, 5, 2 * CHANNELS :])
    assert torch.equal(from_heads(heads), x)


def test_odd_channels_are_refused():
    with pytest.raises(ValueError, match=r"channels must be even .* \(got 5\)"):
        rotate(torch.ones(2, 5))
    odd = TextConfig(vocabulary=7, width=15, heads=3)
    with pytest.raises(ValueError, match=r"width / heads must be even .* \(got 5\)"):
        RotaryAttention(odd)
    assert RotaryAttention(odd, rotary=False)(torch.ones(1, 2, 15))[0].shape == (1, 2, 15)

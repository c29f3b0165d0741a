import pytest
import torch
from structformer.tasks.baselines.encoders import DenseEncoder, GPSEncoder
from torch.nn import functional as F

WIDTH, LAYERS, HEADS = 6, 2, 3
SIZES = (5, 7, 2)
TOKENS = sum(SIZES)
BATCH = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))


def features(rng):
    return torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64).requires_grad_()


def edges(rng):
    """A ring through every set, and its bounds."""
    index, start = [], 0
    for size in SIZES:
        ring = torch.arange(size)
        index.append(start + torch.stack([ring, (ring + 1) % size]))
        start += size
    return torch.cat(index, dim=1)


def check(out, expected, x, rng):
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    upstream = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    grad, wanted = (torch.autograd.grad(y, x, upstream)[0] for y in (out, expected))
    torch.testing.assert_close(grad, wanted, rtol=1e-8, atol=1e-9)


def attend(attention, x):
    """Multi-head attention among the rows of x, written out."""
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).view(len(x), 3, HEADS, -1)
    query, key, value = projected.unbind(1)
    scores = torch.einsum("ihc,jhc->hij", query, key) / query.shape[2] ** 0.5
    return attention.out_proj(torch.einsum("hij,jhc->ihc", scores.softmax(-1), value).flatten(1))


def test_dense_layers_are_pre_norm_transformer_layers_of_each_set(rng):
    model = DenseEncoder(WIDTH, LAYERS, HEADS).double()
    x, expected = features(rng), []
    for h in x.split(SIZES):
        for layer in model.encoder.layers:
            h = h + attend(layer.self_attn, layer.norm1(h))
            h = h + layer.linear2(layer.linear1(layer.norm2(h)).relu())
        expected.append(model.encoder.norm(h))
    check(model(x, BATCH), torch.cat(expected), x, rng)


@pytest.mark.parametrize("sizes", [(TOKENS,), (TOKENS // 2, TOKENS // 2)])
def test_dense_sets_without_padding_take_no_mask_and_give_the_same(sizes, rng):
    model, x = DenseEncoder(WIDTH, LAYERS, HEADS).double(), features(rng)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    alone = torch.cat([model(part) for part in x.split(sizes)])
    check(model(x, batch), alone, x, rng)


def test_gps_layers_add_gin_messages_and_attention_within_each_set(rng):
    model, x, index = GPSEncoder(WIDTH, LAYERS, HEADS).double(), features(rng), edges(rng)
    h = x
    for layer in model.layers:
        heard = h.index_add(0, index[1], h[index[0]])
        local = layer.norm1(layer.conv.nn(heard) + h)
        globally = torch.cat([attend(layer.attn, part) for part in h.split(SIZES)])
        both = local + layer.norm2(globally + h)
        h = layer.norm3(both + layer.mlp(both))
    check(model(x, index, BATCH), h, x, rng)

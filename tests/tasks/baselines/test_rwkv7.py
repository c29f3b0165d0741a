import math

import pytest
import torch
from structformer.tasks.baselines.rwkv7 import RWKV7, LowRank, RWKV7Config, TimeMixing, authors_rank
from structformer.tasks.baselines.text import TextConfig
from torch import nn

from structformer.training.optimizer import parameter_groups

BATCH, LENGTH, HEADS, CHANNELS, LAYERS, RANK = 2, 13, 3, 5, 4, 7
WIDTH = HEADS * CHANNELS
CONFIG = TextConfig(vocabulary=11, width=WIDTH, layers=LAYERS, heads=HEADS)


def mixing(rng, layer):
    """A layer in float64 with all weights moved: some begin at zero."""
    mixer = TimeMixing(CONFIG, RWKV7Config(rank=RANK, chunk=4), layer).double()
    with torch.no_grad():
        for weight in mixer.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=rng, dtype=torch.float64))
    return mixer


def drawn(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def low(part, x):
    inner = x @ part.inner
    inner = inner if part.act is None else part.act(inner)
    return inner @ part.outer + (0 if part.bias is None else part.bias)


def published(mixer, x, first):
    """The paper's section 4.1, one token and head after the other (its equations 3 to 23)."""
    heads, before = (
        [slice(h * CHANNELS, (h + 1) * CHANNELS) for h in range(HEADS)],
        torch.zeros(WIDTH).double(),
    )
    mu = dict(zip(TimeMixing.PARTS, mixer.shift, strict=True))
    state, out, values = torch.zeros(HEADS, CHANNELS, CHANNELS).double(), [], []
    for t, token in enumerate(x):
        mixed = {name: token + m * (before - token) for name, m in mu.items()}
        r, k, v = (mixed[n] @ getattr(mixer, n).weight.T for n in ("receptance", "key", "value"))
        w = (-math.exp(-0.5) * low(mixer.decay, mixed["decay"]).sigmoid()).exp()
        a = low(mixer.rate, mixed["rate"]).sigmoid()
        gate = low(mixer.gate, mixed["gate"])
        if first is not None:
            share = low(mixer.mix, mixed["value"]).sigmoid()
            v = v + share * (first[t] - v)
        values.append(v)
        kappa, key = k * mixer.removal, k * (1 + (a - 1) * mixer.relief)
        parts = []
        for h, part in enumerate(heads):
            unit = kappa[part] / kappa[part].norm()
            transition = torch.diag(w[part]) - torch.outer(unit, a[part] * unit)
            state[h] = state[h].clone() @ transition + torch.outer(v[part], key[part])
            read = state[h] @ r[part]
            read = (read - read.mean()) / (read.var(correction=0) + 64e-5).sqrt()
            read = read * mixer.norm.weight[part] + mixer.norm.bias[part]
            bonus = (r[part] * mixer.bonus[h, 0] * key[part]).sum() * v[part]
            parts.append(read + bonus)
        out.append((torch.cat(parts) * gate) @ mixer.output.weight.T)
        before = token
    return torch.stack(out), torch.stack(values)


@pytest.mark.parametrize("layer", [0, 2])
@torch.no_grad()
def test_the_layer_is_the_published_one(layer, rng):
    mixer, x = mixing(rng, layer), drawn(rng, BATCH, LENGTH, WIDTH)
    first = drawn(rng, BATCH, LENGTH, WIDTH) if layer else None
    out, handed = mixer(x, first)
    for row in range(BATCH):
        expected, values = published(mixer, x[row], None if first is None else first[row])
        torch.testing.assert_close(out[row], expected, rtol=1e-8, atol=1e-9)
        # The first layer hands on its values, later ones what they were handed.
        torch.testing.assert_close(handed[row], values if first is None else first[row])


def test_parameters_begin_as_in_the_authors_code():
    width, heads, layers, layer = 128, 2, 5, 3
    size = width // heads
    mixer = TimeMixing(TextConfig(11, width, layers, heads), RWKV7Config(), layer)
    assert mixer.mix is not None
    part = 1 - layer / layers
    for n in (0, 1, 37, 64, 127):
        linear = n / (width - 1) - 0.5
        zigzag = ((n % size) - (size - 1) / 2) / ((size - 1) / 2)
        zigzag *= abs(zigzag)
        decay = -6 + 6 * (n / (width - 1)) ** (1 + (layer / (layers - 1)) ** 0.3) + 0.5 + 2.5 * zigzag
        wanted = {
            mixer.decay.bias: decay,
            mixer.rate.bias: -0.19 + 0.3 * zigzag + 0.4 * linear,
            mixer.mix.bias: 0.73 - 0.4 * linear,
            mixer.removal: 0.71 - 0.1 * linear,
            mixer.relief: 1.02,
            mixer.bonus.flatten(): -0.04,
            mixer.norm.weight: ((layer + 1) / layers) ** 0.7,
            mixer.norm.bias: 0.0,
        }
        for weight, value in wanted.items():
            assert weight[n].item() == pytest.approx(value, abs=1e-5)
        powers = {"receptance": 0.2, "decay": 0.9, "key": 0.7, "value": 0.7, "rate": 0.9, "gate": 0.2}
        for name, shift in zip(TimeMixing.PARTS, mixer.shift, strict=True):
            assert shift[n].item() == pytest.approx(1 - (n / width) ** (powers[name] * part), abs=1e-5)
    for name, scale in (("receptance", 0.5), ("key", 0.05), ("value", 0.5)):
        weight = getattr(mixer, name).weight * math.sqrt(width)
        assert weight.abs().max().item() == pytest.approx(scale, rel=0.01)
        assert weight.std().item() == pytest.approx(scale / math.sqrt(3), rel=0.03)
    assert not mixer.output.weight.any()


@pytest.mark.parametrize(("width", "ranks"), [(64, (32, 32, 32)), (128, (32, 32, 64)), (768, (64, 32, 128))])
def test_ranks_are_the_authors_unless_they_are_given(width, ranks):
    assert tuple(authors_rank(width, scale) for scale in (2.5, 1.7, 5.0)) == ranks
    config = TextConfig(11, width, layers=2, heads=2)
    mixer, given = TimeMixing(config, RWKV7Config(), 1), TimeMixing(config, RWKV7Config(rank=RANK), 1)
    found = [len(part.outer) for part in (mixer.decay, mixer.rate, mixer.mix, mixer.gate)]
    assert found == [ranks[0], ranks[0], ranks[1], ranks[2]]
    assert {len(part.outer) for part in (given.decay, given.rate, given.mix, given.gate)} == {RANK}


@pytest.mark.parametrize("rank", [RANK, 31])
def test_maps_of_low_rank_begin_alike_for_all_tokens(rank, rng):
    bias = torch.randn(WIDTH, generator=rng)
    part = LowRank(WIDTH, rank, torch.tanh, bias=bias)
    x = torch.randn(1, LENGTH, WIDTH, generator=rng)
    torch.testing.assert_close(part(x), bias.expand(1, LENGTH, WIDTH))
    # Orthogonal, of the authors' length.
    product = part.outer @ part.outer.T if rank < WIDTH else part.outer.T @ part.outer
    length = 0.01 * max(1, rank / WIDTH)
    torch.testing.assert_close(product, length * torch.eye(len(product)), rtol=1e-4, atol=1e-5)


def test_only_the_authors_matrices_lose_weight():
    model = RWKV7(CONFIG)
    decaying = {id(weight) for weight in parameter_groups(model, 0.1)[0]["params"]}
    mixer = model.blocks[1].mixer
    kept = {name for name, weight in mixer.named_parameters() if id(weight) in decaying}
    assert kept == {f"{name}.weight" for name in ("receptance", "key", "value", "output")}


def test_an_untrained_layer_adds_nothing_and_still_learns(rng):
    model, ids = RWKV7(CONFIG), torch.randint(11, (BATCH, LENGTH), generator=rng)
    alone = RWKV7(CONFIG)
    alone.load_state_dict(model.state_dict())
    for block in alone.blocks:
        nn.init.normal_(block.mixer.value.weight)
    torch.testing.assert_close(model(ids), alone(ids))
    model(ids).square().mean().backward()
    assert all(block.mixer.output.weight.grad.any() for block in model.blocks)


def test_one_layer_is_enough_to_be_built():
    assert RWKV7(TextConfig(11, WIDTH, layers=1, heads=HEADS)).blocks[0].mixer.mix is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, r"rank must be at least 1, or None \(got 0\)"),
        ({"chunk": 0}, r"chunk must be at least 1 and at most 128 \(got 0\)"),
        ({"chunk": 129}, r"chunk must be at least 1 and at most 128 \(got 129\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RWKV7Config(**arguments)

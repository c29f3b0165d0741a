"""What all arms of the text tasks have in common; what is each one's own is tested beside this file."""

import math
from functools import partial

import pytest
import torch
from structformer.tasks.baselines.gated_delta import GatedDelta, GatedDeltaConfig, GatedDeltaNet
from structformer.tasks.baselines.lsh import LSHConfig, LSHTransformer
from structformer.tasks.baselines.rotary import RotaryTransformer
from structformer.tasks.baselines.rwkv7 import RWKV7, RWKV7Config, TimeMixing
from structformer.tasks.baselines.text import CausalConvolution, Mixer, TextConfig, TextModel
from structformer.tasks.baselines.universal import UniversalConfig, UniversalTransformer
from structformer.tasks.mqar_data import IGNORED, MQARConfig, draw_mqar
from torch import nn
from torch.nn import functional as F

ARMS = {
    "rotary": RotaryTransformer,
    "universal": UniversalTransformer,
    "halting": partial(UniversalTransformer, own=UniversalConfig(halting=True)),
    "gated delta": GatedDeltaNet,
    "rwkv7": RWKV7,
    "lsh": partial(LSHTransformer, own=LSHConfig(buckets=4, rounds=3, chunk=11)),
}
RECURRENT = ("gated delta", "rwkv7")
# More than two chunks of 32, the last not full. Rotation needs an even number of channels: 3 heads of 10.
BATCH, LENGTH, VOCABULARY, WIDTH, HEADS, LAYERS = 3, 71, 37, 30, 3, 2
CONFIG = TextConfig(VOCABULARY, WIDTH, LAYERS, HEADS)


def arm(name, config=CONFIG):
    """An arm in float64 in which nothing is zero any more: some weights begin so, and would hide what they lead to."""
    model = ARMS[name](config).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def tokens(rng, batch=BATCH, length=LENGTH):
    return torch.randint(VOCABULARY, (batch, length), generator=rng)


def traced(model, ids):
    """The embedded tokens, and the scores made of them."""
    seen = []
    handle = model.embedding.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits = model(ids)
    handle.remove()
    return seen[0], logits


@pytest.mark.parametrize("name", ARMS)
def test_no_token_hears_later_ones_or_other_texts(name, rng):
    embedded, logits = traced(arm(name), tokens(rng))
    assert logits.shape == (BATCH, LENGTH, VOCABULARY)
    for place in (0, 5, 31, 32, 53):
        score = logits[1, place] @ torch.randn(VOCABULARY, generator=rng, dtype=torch.float64)
        (grad,) = torch.autograd.grad(score, embedded, retain_graph=True)
        assert not grad[[0, 2]].any()
        assert not grad[1, place + 1 :].any()
        assert grad[1, place].any()
        # Farther back than the convolutions of both layers reach.
        assert place < 20 or grad[1, : place - 12].any()


@pytest.mark.parametrize("name", ARMS)
def test_a_text_is_read_alike_alone_and_whatever_follows(name, rng):
    model, ids = arm(name), tokens(rng)
    logits = model(ids)
    torch.testing.assert_close(model(ids[1:2]), logits[1:2], rtol=1e-9, atol=1e-10)
    for length in (1, 2, 31, 32, 33, 64, 70):
        torch.testing.assert_close(model(ids[:, :length]), logits[:, :length], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ARMS)
def test_scores_that_are_asked_for_are_those_of_all(name, rng):
    model, ids = arm(name), tokens(rng)
    where = torch.rand(BATCH, LENGTH, generator=rng) < 0.3
    torch.testing.assert_close(model.run(ids, where).logits, model(ids)[where], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ARMS)
def test_long_texts_stay_finite(name, rng):
    model = arm(name).float()
    logits = model(tokens(rng, 1, 1_024))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    logits.square().mean().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", ARMS)
def test_everything_that_is_trained_has_a_gradient(name, rng):
    model = arm(name)
    output = model.run(tokens(rng))
    ponder = 0 if output.ponder is None else output.ponder.mean()
    (output.logits.square().mean() + ponder).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in model.named_parameters() if not weight.grad.any()] == []


@pytest.mark.parametrize("name", ARMS)
def test_a_tied_head_counts_once(name):
    tied, untied = ARMS[name](CONFIG), ARMS[name](TextConfig(VOCABULARY, WIDTH, LAYERS, HEADS, tied=False))
    assert tied.num_parameters == sum({id(p): p.numel() for p in tied.parameters()}.values())
    assert untied.num_parameters - tied.num_parameters == VOCABULARY * WIDTH


def test_operations_of_attention_by_hand():
    length, hidden = 61, 2 * WIDTH
    block = 2 * WIDTH * (3 * WIDTH + WIDTH) + 4 * length * WIDTH + 2 * WIDTH * 2 * hidden + 2 * hidden * WIDTH
    head = 2 * WIDTH * VOCABULARY
    for name in ("rotary", "universal"):
        assert ARMS[name](CONFIG).flops(length) == LAYERS * block + head
    # Whether tokens halt or not, what counts is the most there can be; each step asks whether to halt.
    assert arm("halting").flops(length) == LAYERS * (block + 2 * WIDTH) + head


@pytest.mark.parametrize("name", ["gated delta", "rwkv7", "lsh"])
def test_operations_a_token_do_not_grow_with_the_text(name):
    model = ARMS[name](CONFIG)
    assert model.flops(704) < 1.1 * model.flops(352)
    assert ARMS["rotary"](CONFIG).flops(704) > 1.3 * ARMS["rotary"](CONFIG).flops(352)


def test_states_are_counted():
    square, before = HEADS * 10 * 10, 2 * WIDTH
    wanted = {"gated delta": square + 3 * 3 * WIDTH + before, "rwkv7": square + WIDTH + before}
    for name in ARMS:
        size = wanted.get(name)
        assert ARMS[name](CONFIG).state_size == (None if size is None else LAYERS * size)
    bare = TextConfig(VOCABULARY, WIDTH, LAYERS, HEADS, convolution=0)
    assert GatedDeltaNet(bare, GatedDeltaConfig(convolution=0, expansion=2)).state_size == LAYERS * 2 * square
    assert RWKV7(bare).state_size == LAYERS * (square + WIDTH)


@pytest.mark.parametrize(
    ("mixer", "unheard"),
    [
        (lambda config: GatedDelta(config, GatedDeltaConfig(convolution=0)), 0),
        (lambda config: GatedDelta(config, GatedDeltaConfig(convolution=0, expansion=2)), 0),
        # What all values of a head have in common is kept, but taken away by the norm after it is read.
        (lambda config: TimeMixing(config, RWKV7Config(rank=7), layer=0), 3),
    ],
)
def test_the_past_speaks_through_as_many_numbers_as_the_state_has(mixer, unheard, rng):
    mixer = mixer(TextConfig(VOCABULARY, width=3, layers=1, heads=1)).double()
    with torch.no_grad():
        for weight in mixer.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=rng, dtype=torch.float64))
    past, future = (torch.randn(1, length, 3, generator=rng, dtype=torch.float64) for length in (11, 23))

    def later(before):
        return mixer(torch.cat([before, future], dim=1))[0][:, 11:]

    jacobian = torch.autograd.functional.jacobian(later, past).reshape(23 * 3, 11 * 3)
    assert torch.linalg.matrix_rank(jacobian, rtol=1e-10) == mixer.state_size - unheard


class CumulativeMean(Mixer):
    """A mixer to test the skeleton with; it notes what it was handed."""

    def forward(self, x, first=None):
        self.handed = first
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return x.cumsum(1) / count, x if first is None else first


def test_the_skeleton_is_pre_norm_with_a_convolution_before_the_mixer(rng):
    mixers = [CumulativeMean(), CumulativeMean()]
    model, ids = TextModel(CONFIG, mixers).double(), tokens(rng)
    h = model.embedding.weight[ids] * math.sqrt(WIDTH)
    handed = []
    for block in model.blocks:
        convolved = F.layer_norm(h, (WIDTH,))
        padded = F.pad(convolved, (0, 0, 2, 0))
        convolved = sum(w * padded[:, 2 - d : 2 - d + LENGTH] for d, w in enumerate(block.convolution.weight))
        handed.append(convolved)
        h = h + torch.stack([convolved[:, : i + 1].mean(1) for i in range(LENGTH)], dim=1)
        inner = F.linear(F.layer_norm(h, (WIDTH,)), block.feed.inner.weight, block.feed.inner.bias)
        value, gate = inner.split(2 * WIDTH, dim=-1)
        h = h + F.linear(value * F.gelu(gate), block.feed.outer.weight, block.feed.outer.bias)
    torch.testing.assert_close(model(ids), F.layer_norm(h, (WIDTH,)) @ model.embedding.weight.T)
    assert mixers[0].handed is None
    torch.testing.assert_close(mixers[1].handed, handed[0])


def test_the_convolution_weighs_the_last_tokens(rng):
    convolution = CausalConvolution(WIDTH, 5).double()
    x = torch.randn(2, 13, WIDTH, generator=rng, dtype=torch.float64).requires_grad_()
    rows = []
    for i in range(13):
        rows.append(sum(convolution.weight[d] * x[:, i - d] for d in range(5) if d <= i))
    expected, out, wanted = torch.stack(rows, dim=1), convolution(x), (x, convolution.weight)
    torch.testing.assert_close(out, expected)
    upstream = torch.randn(out.shape, generator=rng, dtype=torch.float64)
    grads = (torch.autograd.grad(y, wanted, upstream) for y in (out, expected))
    torch.testing.assert_close(next(grads), next(grads))
    assert (out - x).abs().max() < 0.5
    drawn = CausalConvolution(1_009, 5, identity=False).weight
    assert drawn.abs().max() <= 5**-0.5
    assert (drawn.std() - (5 * 3) ** -0.5).abs() < 0.01


def test_without_a_convolution_the_mixer_sees_the_normalised_states():
    model = TextModel(TextConfig(VOCABULARY, WIDTH, 1, HEADS, convolution=0), [CumulativeMean()])
    assert isinstance(model.blocks[0].convolution, nn.Identity)


def test_dropout_is_for_training_only_and_of_what_the_mixer_heard_too(rng):
    config = TextConfig(VOCABULARY, WIDTH, LAYERS, HEADS, dropout=0.5)
    model, ids = RotaryTransformer(config), tokens(rng)
    for block in model.blocks:
        nn.init.zeros_(block.feed.outer.weight)
    assert not torch.equal(model(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": 0}, r"vocabulary must be at least 1 \(got 0\)"),
        ({"layers": 0}, r"layers must be at least 1 \(got 0\)"),
        ({"heads": 7}, r"heads must divide width \(got heads=7, width=30\)"),
        ({"expansion": 0.0}, r"expansion must be positive \(got 0.0\)"),
        ({"convolution": -1}, r"convolution must be at least 0 \(got -1\)"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1 \(got 1.0\)"),
    ],
)
def test_bad_sizes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextConfig(
            **{"vocabulary": VOCABULARY, "width": WIDTH, "layers": LAYERS, "heads": HEADS, **arguments}
        )


@pytest.mark.parametrize(
    ("name", "rate", "updates"),
    [
        ("rotary", 5e-3, 150),
        ("universal", 5e-3, 200),
        ("halting", 5e-3, 200),
        ("gated delta", 5e-3, 250),
        ("rwkv7", 5e-3, 100),
        ("lsh", 1e-2, 150),
    ],
)
def test_recall_is_learned(name, rate, updates, rng):
    shape = MQARConfig(length=20, pairs=3, vocabulary=19, random_fill=False)
    model = ARMS[name](TextConfig(shape.vocabulary, width=32, layers=2, heads=2))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(updates):
        data = draw_mqar(shape, 32, rng)
        output = model.run(data.inputs)
        loss = F.cross_entropy(output.logits.flatten(0, 1), data.targets.flatten())
        loss = loss if output.ponder is None else loss + 1e-3 * output.ponder.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    data = draw_mqar(shape, 256, rng)
    asked = data.targets != IGNORED
    right = model(data.inputs)[asked].argmax(-1) == data.targets[asked]
    assert right.float().mean() > 0.95

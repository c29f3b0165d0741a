from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from structformer.nn.memory_chunks import chunkwise
from structformer.nn.memory_naive import advance, recurrence
from structformer.nn.memory_signals import MemoryState, Signals

HEADS, CHANNELS, SLOTS = 2, 5, 3
PTR = torch.tensor([0, 17, 17, 18, 37, 43])  # sets of 17, 0, 1, 19 and 6 tokens
SETS, TOKENS = 5, 43


def random(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def leaf(x):
    return x.detach().requires_grad_()


def some(rng, tokens, slots):
    """Weights of which about half are zero."""
    x = torch.rand(tokens, HEADS, slots, generator=rng, dtype=torch.float64)
    return (x - 0.5).clamp(min=0) * 2


def told(rng, tokens=TOKENS, slots=SLOTS, decay=0.3):
    """Signals of random tokens, keys a little alike, as those of real tokens are."""
    query, key = (F.normalize(random(rng, tokens, HEADS, CHANNELS) + tilt, dim=-1) for tilt in (0.0, 0.7))
    log_keep, deep_log_keep = (-decay * random(rng, tokens, HEADS).square() for _ in range(2))
    write, deep_write = (2 * random(rng, tokens, HEADS).sigmoid() for _ in range(2))
    value = random(rng, tokens, HEADS, CHANNELS)
    parts = (
        query,
        key,
        value,
        log_keep,
        write,
        deep_log_keep,
        deep_write,
        some(rng, tokens, slots) / max(slots, 1),
        some(rng, tokens, slots),
    )
    return Signals(*(leaf(x) for x in parts))


def first(rng, sets=SETS, slots=SLOTS):
    square = CHANNELS, CHANNELS
    deep = leaf(random(rng, sets, HEADS, slots, *square))
    return MemoryState(leaf(random(rng, sets, HEADS, *square)), deep)


def flat(result):
    out, state = result
    return out, state.shallow, state.deep


def gradients(result, inputs, upstream):
    total = sum((x * u).sum() for x, u in zip(flat(result), upstream, strict=True))
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("chunk", [1, 2, 7, 17, 64])
@pytest.mark.parametrize("slots", [SLOTS, 0], ids=["deep", "shallow"])
def test_chunks_equal_the_recurrence(rng, chunk, slots):
    signals, state = told(rng, slots=slots), first(rng, slots=slots)
    found, expected = chunkwise(signals, PTR, state, chunk), recurrence(signals, PTR, state)
    torch.testing.assert_close(flat(found), flat(expected), rtol=0, atol=1e-9)
    heard = [name for name in vars(signals) if slots or not ("deep" in name or name in ("take", "read"))]
    inputs = [getattr(signals, name) for name in heard] + [state.shallow] + [state.deep] * bool(slots)
    upstream = [random(rng, *x.shape) for x in flat(found)]
    grads = [gradients(result, inputs, upstream) for result in (found, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-9)
    assert all((grad != 0).any() for grad in grads[0])


def test_the_recurrence_reads_tokens_one_after_the_other(rng):
    signals, state = told(rng, tokens=3), first(rng, sets=1)
    outs, own = [], state
    for token in signals.each():
        out, own = advance(token, own)
        outs.append(out)
    found = recurrence(signals, torch.tensor([0, 3]), state)
    torch.testing.assert_close(flat(found), (torch.cat(outs), own.shallow, own.deep), rtol=0, atol=0)


@pytest.mark.parametrize("form", [recurrence, lambda *arguments: chunkwise(*arguments, 2)])
def test_numbers_by_hand(form):
    # One feature, always the same key: r = v − S, S ← g S + β r, e = r − ω D, D ← g' D + ω β' e, o = S + p D.
    def numbers(*values):
        return torch.tensor(values, dtype=torch.float64)[:, None]

    one = numbers(1.0, 1.0, 1.0)[..., None]
    value, keep, deep_keep = numbers(8.0, 6.0, 1.0), numbers(0.3, 0.5, 1.0), numbers(0.3, 1.0, 0.25)
    write, deep_write = numbers(0.5, 1.0, 0.5), numbers(1.0, 1.0, 2.0)
    take, read = numbers(1.0, 0.0, 0.5), numbers(0.0, 1.0, 2.0)
    gates = keep.log(), write, deep_keep.log(), deep_write, take[..., None], read[..., None]
    signals = Signals(one, one, value[..., None], *gates)
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    out, state = form(signals, torch.tensor([0, 3]), MemoryState(nothing, nothing[None]))
    # r = 8, 2, −3; S = 4, 4, 2.5; e = 8, 2, −7; D = 8, 8, −5.
    torch.testing.assert_close(out.flatten(), torch.tensor([4.0, 12.0, -7.5]).double())
    torch.testing.assert_close((state.shallow.item(), state.deep.item()), (2.5, -5.0))


@pytest.mark.parametrize("slots", [2, 0], ids=["deep", "shallow"])
def test_gradcheck(rng, slots):
    ptr = torch.tensor([0, 4, 4, 5])
    signals, state = told(rng, tokens=5, slots=slots), first(rng, sets=3, slots=slots)
    inputs = (*vars(signals).values(), state.shallow, state.deep)
    inputs = tuple(x if x.numel() else x.detach() for x in inputs)
    if not slots:
        inputs = (*inputs[:5], inputs[5].detach(), inputs[6].detach(), *inputs[7:])

    def run(*inputs):
        out, after = chunkwise(Signals(*inputs[:9]), ptr, MemoryState(*inputs[9:]), 3)
        return (out, after.shallow, after.deep) if slots else (out, after.shallow)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def test_a_text_goes_on_where_it_stopped(rng):
    signals, state = told(rng), first(rng)
    whole = chunkwise(signals, PTR, state, 7)
    cut = torch.tensor([5, 0, 0, 19, 2])  # tokens of each set that are read first
    places = [
        torch.cat([torch.arange(a, a + n) for a, n in zip(begin.tolist(), length.tolist(), strict=True)])
        for begin, length in ((PTR[:-1], cut), (PTR[:-1] + cut, PTR.diff() - cut))
    ]
    out = torch.full_like(whole[0], torch.nan)
    for place, length in zip(places, (cut, PTR.diff() - cut), strict=True):
        part = Signals(*(x[place] for x in vars(signals).values()))
        ptr = torch.cat([torch.zeros(1, dtype=torch.long), length.cumsum(0)])
        heard, state = chunkwise(part, ptr, state, 7)
        out = out.index_copy(0, place, heard)
    torch.testing.assert_close((out, state.shallow, state.deep), flat(whole), rtol=0, atol=1e-9)


def test_a_set_without_tokens_keeps_its_state(rng):
    signals, state = told(rng), first(rng)
    _, after = chunkwise(signals, PTR, state, 7)
    assert torch.equal(after.shallow[1], state.shallow[1])
    assert torch.equal(after.deep[1], state.deep[1])
    none = Signals(*(x[:0] for x in vars(signals).values()))
    out, after = chunkwise(none, torch.zeros(SETS + 1, dtype=torch.long), state, 7)
    assert out.shape == (0, HEADS, CHANNELS)
    assert torch.equal(after.deep, state.deep)
    out, after = chunkwise(none, torch.tensor([0]), first(rng, sets=0), 7)
    assert after.shallow.shape == (0, HEADS, CHANNELS, CHANNELS)


@pytest.mark.parametrize("strength", [0.0, 30.0, 1000.0])
def test_decays_of_any_strength(rng, strength):
    # From tokens that forget nothing to tokens that forget everything, side by side in a chunk.
    signals, state = told(rng), first(rng)
    gate = (torch.rand(TOKENS, HEADS, generator=rng) < 0.2).double() * -strength
    signals = replace(signals, log_keep=leaf(gate), deep_log_keep=leaf(gate.roll(1, 0)))
    found, expected = chunkwise(signals, PTR, state, 17), recurrence(signals, PTR, state)
    torch.testing.assert_close(flat(found), flat(expected), rtol=0, atol=1e-9)
    inputs = [*vars(signals).values(), state.shallow, state.deep]
    upstream = [random(rng, *x.shape) for x in flat(found)]
    grads = [gradients(result, inputs, upstream) for result in (found, expected)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-9)


def test_single_precision_is_as_exact_as_it_can_be(rng):
    signals, state = told(rng, decay=3.0), first(rng)
    lowered = Signals(*(x.float() for x in vars(signals).values()))
    found, _ = chunkwise(lowered, PTR, MemoryState(state.shallow.float(), state.deep.float()), 17)
    expected, _ = recurrence(signals, PTR, state)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


class Largest(TorchDispatchMode):
    """Notes how large the largest tensor is that an operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.numel = max([self.numel, *sizes])
        return out


def test_memory_grows_with_the_length_only(rng):
    largest = []
    for tokens in (1009, 4 * 1009):
        signals, state = told(rng, tokens=tokens), first(rng, sets=1)
        with Largest() as record:
            out, _ = chunkwise(signals, torch.tensor([0, tokens]), state, 13)
            out.sum().backward()
        largest.append(record.numel)
    assert largest[1] <= 4.1 * largest[0]
    assert largest[1] < (4 * 1009) ** 2 / 10

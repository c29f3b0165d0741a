from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.memory_chunks import chunkwise
from structformer.nn.memory_signals import MemoryState, Signals
from structformer.ops import compiled, naive

WIDTH, HEADS, CHANNELS, SLOTS, WRITES, READS = 13, 3, 5, 7, 2, 3
PTR = torch.tensor([0, 7, 7, 8, 10, 23])  # sets of 7, 0, 1, 2 and 13 tokens
SETS, TOKENS = 5, 23
VARIANTS = {
    "deep": {},
    "shallow": {"deep": False},
    "one slot": {"slots": 1, "writes": 1, "reads": 1},
    "all slots": {"writes": SLOTS, "reads": SLOTS},
    "softmax": {"normalizer": "softmax"},
    "no convolution": {"convolution": 0},
    "no reflection": {"reflect": False},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture(autouse=True, params=[True, False] if compiled.available() else [False], ids=str)
def _kernels(request, monkeypatch):
    """With the compiled recurrence and without it."""
    if not request.param:
        monkeypatch.setattr(compiled, "_library", lambda: None)


def layer(**changes):
    sizes = {"width": WIDTH, "heads": HEADS, "channels": CHANNELS, "slots": SLOTS, "chunk": 4}
    config = DeepShallowMemoryConfig(**{**sizes, "writes": WRITES, "reads": READS, **changes})
    memory = DeepShallowMemory(config).double()
    with torch.no_grad():  # away from the first values, so that each head forgets in its own way
        memory.keep.bias.copy_(torch.linspace(-3, 0, len(memory.keep.bias)))
        memory.norm.weight.copy_(torch.linspace(0.5, 1.5, config.size))
    return memory


def states(rng, tokens=TOKENS):
    return torch.randn(tokens, WIDTH, generator=rng, dtype=torch.float64)


def before(rng, memory, sets=SETS):
    parts = memory.start(sets).parts()
    return MemoryState(*(torch.randn(x.shape, generator=rng, dtype=x.dtype).requires_grad_() for x in parts))


def flat(result):
    out, state = result
    return out, *state.parts()


def close(found, expected, tolerance=1e-9):
    torch.testing.assert_close(flat(found), flat(expected), rtol=0, atol=tolerance)


def nearest(scores, count):
    return scores.masked_fill(scores < scores.sort(descending=True).values[count - 1], -torch.inf)


def slot_weights(memory, head, q, k):
    """Shares of the residual that the slots take, and weights with which they are read."""
    config, center = memory.config, memory.log_sharpness[head].exp() * memory.center[head]
    row, alpha = torch.tensor([0, config.slots]), {"softmax": 1.0, "entmax15": 1.5}[config.normalizer]
    read = naive.segment_entmax(nearest(center @ q, config.reads), row, alpha)
    return nearest(center @ k, config.writes).softmax(0), read


def told(memory, h):
    """Queries, keys and values of one set, [tokens, 3, heads, channels]."""
    x = h @ memory.told.weight.T
    if memory.convolution is not None:
        weight = memory.convolution.weight
        x = torch.stack(
            [sum(weight[d] * x[t - d] for d in range(len(weight)) if d <= t) for t in range(len(x))]
        )
        x = x * x.sigmoid()
    return x.view(len(h), 3, HEADS, CHANNELS)


def twin(memory, h):
    """The formula of the docstring for one set, token by token, head by head and slot by slot."""
    config = memory.config
    slots = range(config.slots if config.deep else 0)
    shallow = [h.new_zeros(CHANNELS, CHANNELS) for _ in range(HEADS)]
    deep = [[h.new_zeros(CHANNELS, CHANNELS) for _ in slots] for _ in range(HEADS)]
    outs = []
    for x, qkv in zip(h, told(memory, h), strict=True):
        keep = (-memory.log_rate.exp() * F.softplus(memory.keep(x))).exp()
        write = memory.write(x).sigmoid() * (1 + keep if config.reflect else 1)
        heads = []
        for head in range(HEADS):
            q, k, v = qkv[:, head]
            q, k = q / q.norm(), k / k.norm()
            residual = v - shallow[head].T @ k
            shallow[head] = keep[head] * shallow[head] + write[head] * torch.outer(k, residual)
            out = shallow[head].T @ q
            if config.deep:
                take, read = slot_weights(memory, head, q, k)
                error = residual - sum(take[m] * (deep[head][m].T @ k) for m in slots)
                taken = write[HEADS + head] * torch.outer(k, error)
                deep[head] = [keep[HEADS + head] * deep[head][m] + take[m] * taken for m in slots]
                out = out + sum(read[m] * (deep[head][m].T @ q) for m in slots)
            heads.append(out / (out.square().mean() + 1e-5).sqrt() * memory.norm.weight)
        outs.append(memory.output(F.silu(memory.gate(x)) * torch.cat(heads)))
    return torch.stack(outs)


@variants
def test_equals_the_formula_token_by_token(rng, changes):
    memory, h = layer(**changes), states(rng, 11).requires_grad_()
    found, expected = memory(h)[0], twin(memory, h)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    names, parameters = zip(*memory.named_parameters(), strict=True)
    upstream = states(rng, 11)
    grads = [
        torch.autograd.grad(
            (out * upstream).sum(), (h, *parameters), allow_unused=True, materialize_grads=True
        )
        for out in (found, expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-9)
    # With a single slot there is nothing to choose.
    still = {"center", "log_sharpness"} if memory.config.slots == 1 else set()
    assert {name for name, grad in zip(names, grads[0][1:], strict=True) if not grad.any()} == still


def test_without_deep_states_it_is_a_gated_delta_rule(rng):
    memory, h = layer(deep=False, reflect=False), states(rng)
    q, k, v = told(memory, h).unbind(1)
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in (q, k))
    beta = memory.write(h).sigmoid()[..., None, None]
    g = (-memory.log_rate.exp() * F.softplus(memory.keep(h))).exp()[..., None, None]
    kk, kv = (torch.einsum("thi,thj->thij", k, x) for x in (k, v))
    state, heard = torch.zeros(HEADS, CHANNELS, CHANNELS).double(), []
    for t in range(TOKENS):
        state = (g[t] * torch.eye(CHANNELS) - beta[t] * kk[t]) @ state + beta[t] * kv[t]
        heard.append((state.mT @ q[t, :, :, None])[..., 0])
    normed = F.rms_norm(torch.stack(heard), (CHANNELS,), memory.norm.weight, 1e-5)
    expected = memory.output(F.silu(memory.gate(h)) * normed.flatten(1))
    found, after = memory(h)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.shallow[0], state, rtol=0, atol=1e-9)


@variants
def test_the_chunk_changes_nothing(rng, changes):
    memory, h = layer(**changes), states(rng)
    state = before(rng, memory)
    expected = memory(h, PTR, state)
    for chunk in (1, 3, 64):
        other = layer(**changes, chunk=chunk)
        other.load_state_dict(memory.state_dict())
        close(other(h, PTR, state), expected)


@variants
def test_steps_equal_forward(rng, changes):
    memory, h = layer(**changes), states(rng, 3 * 11)
    ptr = torch.arange(0, 34, 11)
    whole = memory(h, ptr)
    state, outs = memory.start(3), []
    for t in range(11):
        out, state = memory.step(h[ptr[:-1] + t], state)
        outs.append(out)
    close((torch.stack(outs, 1).flatten(0, 1), state), whole)


@variants
def test_a_text_goes_on_where_it_stopped(rng, changes):
    memory, h = layer(**changes), states(rng)
    state = before(rng, memory)
    whole, cut = memory(h, PTR, state), torch.tensor([5, 0, 1, 0, 6])
    out = torch.full_like(whole[0], torch.nan)
    for begin, length in ((PTR[:-1], cut), (PTR[:-1] + cut, PTR.diff() - cut)):
        place = torch.cat(
            [torch.arange(a, a + n) for a, n in zip(begin.tolist(), length.tolist(), strict=True)]
        )
        heard, state = memory(h[place], F.pad(length.cumsum(0), (1, 0)), state)
        out = out.index_copy(0, place, heard)
    close((out, state), whole)


@variants
def test_a_packed_batch_equals_one_set_at_a_time(rng, changes):
    memory, h = layer(**changes), states(rng)
    state = before(rng, memory)
    out, after = memory(h, PTR, state)
    for s, (a, b) in enumerate(pairwise(PTR.tolist())):
        own, left = (MemoryState(*(x[s : s + 1] for x in one.parts())) for one in (state, after))
        close(memory(h[a:b], None, own), (out[a:b], left))


@variants
def test_a_token_hears_all_before_it_in_its_set_and_nothing_else(rng, changes):
    memory, h = layer(**changes), states(rng).requires_grad_()
    state = before(rng, memory)
    out, _ = memory(h, PTR, state)
    owner = torch.arange(SETS).repeat_interleave(PTR.diff())
    for i in range(TOKENS):
        of_tokens, of_state = torch.autograd.grad(
            out[i].square().sum(), (h, state.shallow), retain_graph=True
        )
        heard = (torch.arange(TOKENS) <= i) & (owner == owner[i])
        assert of_tokens[heard].abs().sum(1).all()
        assert (of_tokens[~heard] == 0).all()
        assert of_state.flatten(1).any(1).nonzero().flatten().tolist() == [owner[i]]


def test_gradcheck(rng):
    ptr = torch.tensor([0, 3, 4])
    memory = layer(width=2, heads=1, channels=2, slots=3, writes=2, reads=2, chunk=2)
    h = torch.randn(4, 2, generator=rng, dtype=torch.float64).requires_grad_()
    names, parameters = zip(*memory.named_parameters(), strict=True)

    def run(h, *values):
        return flat(torch.func.functional_call(memory, dict(zip(names, values, strict=True)), (h, ptr)))

    assert torch.autograd.gradcheck(run, (h, *parameters))


def test_one_write_and_one_read_leave_the_centres_as_they_are(rng):
    memory = layer(writes=1, reads=1)
    memory(states(rng))[0].square().sum().backward()
    assert not memory.center.grad.any()
    assert memory.told.weight.grad.any()


def test_the_size_of_the_state_does_not_depend_on_the_length(rng):
    square, line = HEADS * CHANNELS**2, 3 * 3 * HEADS * CHANNELS
    sizes = {
        "deep": square * (1 + SLOTS) + line,
        "shallow": square + line,
        "no convolution": square * (1 + SLOTS),
    }
    for name, size in sizes.items():
        memory = layer(**VARIANTS[name])
        assert memory.state_size == size
        for tokens in (1, 23):
            _, state = memory(states(rng, tokens))
            assert sum(x.numel() for x in state.parts()) == size


def test_a_reflecting_memory_counts_modulo_two(rng):
    """With β = 2 and nothing forgotten, each 1 turns what is held into its opposite; β ≤ 1 + g keeps it bounded."""
    memory = layer(reflect=True)
    with torch.no_grad():
        memory.write.bias.fill_(50.0)
        memory.write.weight.zero_()
    signals, _ = memory.signals(states(rng))
    torch.testing.assert_close(signals.write, 1 + signals.log_keep.exp())
    torch.testing.assert_close(signals.deep_write, 1 + signals.deep_log_keep.exp())
    bits = torch.randint(2, (200,), generator=rng).double()
    one, nothing = torch.ones(200, 1, 1).double(), torch.zeros(200, 1).double()
    held = MemoryState(torch.ones(1, 1, 1, 1).double(), torch.zeros(1, 1, 0, 1, 1).double())
    none = torch.zeros(200, 1, 0).double()
    told = Signals(one, one, 0 * one, nothing, 2 * bits[:, None], nothing, nothing, none, none)
    out, _ = chunkwise(told, torch.tensor([0, 200]), held, 32)
    torch.testing.assert_close(out.flatten(), 1 - 2 * (bits.cumsum(0) % 2))


def test_the_state_of_nothing_is_nothing(rng):
    memory, h = layer(), states(rng)
    close(memory(h, PTR, memory.start(SETS)), memory(h, PTR))
    out, state = memory(h[:0], torch.tensor([0, 0]))
    assert out.shape == (0, WIDTH)
    assert not state.deep.any()


@pytest.mark.parametrize("name", ["width", "heads", "channels", "slots", "chunk"])
def test_a_size_below_one_names_the_field(name):
    with pytest.raises(ValueError, match=rf"{name} must be at least 1.* \(got 0\)"):
        DeepShallowMemoryConfig(**{name: 0})


def test_a_bad_configuration_is_named():
    with pytest.raises(ValueError, match=r"heads must divide width .*\(got heads=3, width=64\)"):
        DeepShallowMemoryConfig(heads=3)
    assert DeepShallowMemoryConfig(heads=3, channels=7).size == 7
    assert DeepShallowMemoryConfig(width=12, heads=3).size == 4
    with pytest.raises(ValueError, match=r"convolution must be at least 0 \(got -1\)"):
        DeepShallowMemoryConfig(convolution=-1)
    for name, value in (("writes", 0), ("writes", 5), ("reads", 0), ("reads", 5)):
        with pytest.raises(ValueError, match=rf"{name} must be from 1 to slots, 4 \(got {value}\)"):
            DeepShallowMemoryConfig(**{name: value})
    with pytest.raises(ValueError, match=r"normalizer must be .* \(got 'hardmax'\)"):
        DeepShallowMemoryConfig(normalizer="hardmax")


def test_bad_arguments_are_named(rng):
    memory, h = layer(), states(rng)
    with pytest.raises(ValueError, match="ptr must rise from 0 to the number of tokens, 23"):
        memory(h, torch.tensor([0, 22]))
    others = layer(deep=False), layer(slots=3), layer(convolution=0), layer(convolution=2)
    wrong = [*(other.start(SETS) for other in others), memory.start(SETS + 1)]
    for state in wrong:
        with pytest.raises(
            ValueError, match=r"state must be of 5 sets, with parts \[\[5, 3, 5, 5\].* \(got \["
        ):
            memory(h, PTR, state)
        with pytest.raises(ValueError, match="state must be of 5 sets"):
            memory.step(h[:SETS], state)

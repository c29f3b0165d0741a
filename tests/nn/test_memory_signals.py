import pytest
import torch
from torch.nn import functional as F

from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.memory_signals import MemoryState
from structformer.ops import naive

TOKENS, WIDTH, HEADS, CHANNELS, SLOTS, WRITES, READS = 23, 13, 3, 5, 7, 2, 3


def layer(**changes):
    sizes = {"width": WIDTH, "heads": HEADS, "channels": CHANNELS, "slots": SLOTS}
    config = DeepShallowMemoryConfig(**{**sizes, "writes": WRITES, "reads": READS, **changes})
    return DeepShallowMemory(config).double()


def states(rng, tokens=TOKENS):
    return torch.randn(tokens, WIDTH, generator=rng, dtype=torch.float64)


def nearest(scores, count):
    """Scores with all but the largest put out of the question."""
    return scores.masked_fill(
        scores < scores.sort(-1, descending=True).values[..., count - 1, None], -torch.inf
    )


def test_keys_and_queries_have_length_one_and_gates_their_range(rng):
    signals, _ = layer(reflect=False).signals(3 * states(rng))
    for x in (signals.query, signals.key):
        torch.testing.assert_close(x.norm(dim=-1), torch.ones(TOKENS, HEADS).double())
    assert ((signals.write > 0) & (signals.write < 1)).all()
    assert (signals.log_keep < 0).all()
    assert (signals.deep_log_keep < 0).all()


def test_the_shallow_and_the_deep_memory_have_gates_of_their_own(rng):
    memory, h = layer(reflect=False), states(rng)
    signals, _ = memory.signals(h)
    torch.testing.assert_close(signals.write, memory.write(h)[:, :HEADS].sigmoid())
    log_keep = -memory.log_rate.exp() * F.softplus(memory.keep(h))
    torch.testing.assert_close(signals.log_keep, log_keep[:, :HEADS])
    torch.testing.assert_close(signals.deep_log_keep, log_keep[:, HEADS:])
    torch.testing.assert_close(signals.deep_write, memory.write(h)[:, HEADS:].sigmoid())


def test_the_slots_nearest_to_the_key_take_the_residual(rng):
    memory, h = layer(), states(rng)
    with torch.no_grad():
        memory.log_sharpness.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    signals, _ = memory.signals(h)
    scores = torch.einsum("thc,hmc->thm", signals.key, memory.center) * memory.log_sharpness.exp()[:, None]
    torch.testing.assert_close(signals.take, nearest(scores, WRITES).softmax(-1))
    assert ((signals.take > 0).sum(-1) == WRITES).all()


@pytest.mark.parametrize(
    ("normalizer", "alpha"), [("softmax", 1.0), ("entmax15", 1.5), (1.3, 1.3), ("sparsemax", 2.0)]
)
def test_the_slots_nearest_to_the_query_are_read(rng, normalizer, alpha):
    memory, h = layer(normalizer=normalizer), states(rng)
    with torch.no_grad():
        memory.log_sharpness.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    signals, _ = memory.signals(h)
    scores = torch.einsum("thc,hmc->thm", signals.query, memory.center) * memory.log_sharpness.exp()[:, None]
    rowptr = torch.arange(0, TOKENS * HEADS * SLOTS + 1, SLOTS)
    expected = naive.segment_entmax(nearest(scores, READS).flatten(), rowptr, alpha).view_as(scores)
    torch.testing.assert_close(signals.read, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(signals.read.sum(-1), torch.ones(TOKENS, HEADS).double())
    assert ((signals.read > 0).sum(-1) <= READS).all()


def test_one_slot_alone_takes_and_gives_everything(rng):
    memory, h = layer(slots=1, writes=1, reads=1), states(rng)
    signals, _ = memory.signals(h)
    assert (signals.take == 1).all()
    assert (signals.read == 1).all()


@pytest.mark.parametrize("channels", [8, 64])
def test_every_slot_is_reached_at_first(rng, channels):
    memory = layer(channels=channels, writes=1, reads=1, slots=5)
    signals, _ = memory.signals(states(rng, 499))
    assert ((signals.take > 0).sum(0) > 499 / 50).all()
    assert ((signals.read > 0).sum(0) > 499 / 50).all()


def test_keys_of_recalling_heads_begin_as_queries_of_the_token_before(rng):
    memory, h = (
        DeepShallowMemory(DeepShallowMemoryConfig(width=48, heads=3)),
        torch.randn(23, 48, generator=rng),
    )
    assert memory.recalling == 2
    signals, _ = memory.signals(h)
    alike = (signals.query[:-1] * signals.key[1:]).sum(-1)
    assert alike[:, :2].min() > 0.95  # but for the noise of the convolution
    assert alike[:, 2].mean() < 0.6
    assert (signals.query * signals.key).sum(-1).mean() < 0.6
    without, _ = DeepShallowMemory(DeepShallowMemoryConfig(width=48, heads=3, convolution=0)).signals(h)
    assert (without.query[:-1] * without.key[1:]).sum(-1).abs().mean() < 0.6


def test_half_of_the_heads_begin_with_long_memories_and_most_others_with_short_ones(rng):
    memory = layer(heads=80, channels=2)
    with torch.no_grad():
        memory.keep.weight.zero_()
    signals, _ = memory.signals(states(rng))
    for log_keep in (signals.log_keep, signals.deep_log_keep):
        tokens = -1 / log_keep[0]
        torch.testing.assert_close(tokens[:40], torch.logspace(3, 2, 40).double(), rtol=1e-5, atol=0)
        # The mean of e^A is 8, the median step 0.01.
        assert tokens[40:].min() > 1 / 1.6
        assert 4 < tokens[40:].median() < 40
    fresh = layer().signals(states(rng, 211))[0].write
    assert 0.5 < fresh.mean() < 0.9


def test_without_slots_there_is_nothing_deep(rng):
    memory = layer(deep=False)
    signals, _ = memory.signals(states(rng))
    assert signals.take.shape == signals.read.shape == (TOKENS, HEADS, 0)
    assert not [name for name, _ in memory.named_parameters() if "center" in name or "sharpness" in name]
    assert memory.write.out_features == memory.keep.out_features == HEADS


def test_tokens_one_by_one(rng):
    signals, _ = layer().signals(states(rng))
    each = signals.each()
    assert len(each) == TOKENS
    for name, x in vars(each[5]).items():
        assert torch.equal(x, getattr(signals, name)[5:6])


def test_a_detached_state_has_no_history(rng):
    memory, h = layer(), states(rng).requires_grad_()
    _, state = memory(h)
    detached = state.detach()
    assert isinstance(detached, MemoryState)
    assert state.shallow.requires_grad
    assert not detached.shallow.requires_grad
    assert not detached.deep.requires_grad
    assert not detached.line.requires_grad
    assert torch.equal(detached.deep, state.deep)


def test_some_sets_begin_anew(rng):
    memory, ptr = layer(), torch.tensor([0, 9, 12, TOKENS])
    _, state = memory(states(rng), ptr)
    fresh = state.forgotten(torch.tensor([True, False, True]))
    for after, before in zip(fresh.parts(), state.parts(), strict=True):
        assert not after[[0, 2]].any()
        assert torch.equal(after[1], before[1])

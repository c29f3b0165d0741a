import pytest
import torch

from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.memory_chunks import chunkwise
from structformer.nn.memory_naive import advance
from structformer.ops import compiled

WIDTH, CHUNK = 13, 4
PTR = torch.tensor([0, 7, 7, 8, 10, 23])
SETS, TOKENS = 5, 23


@pytest.fixture(autouse=True, params=[True, False] if compiled.available() else [False], ids=str)
def _kernels(request, monkeypatch):
    """With the compiled recurrence and without it."""
    if not request.param:
        monkeypatch.setattr(compiled, "_library", lambda: None)


def layer(writes=2):
    return DeepShallowMemory(
        DeepShallowMemoryConfig(WIDTH, heads=3, channels=5, slots=7, writes=writes, reads=3, chunk=CHUNK)
    )


def states(rng):
    return torch.randn(TOKENS, WIDTH, generator=rng)


@pytest.mark.parametrize("keep", [None, -50.0, 50.0, 1000.0], ids=str)
@pytest.mark.parametrize("same", [False, True], ids=["different", "same"])
def test_four_thousand_tokens_stay_finite_in_float32(rng, keep, same):
    memory = DeepShallowMemory(DeepShallowMemoryConfig(width=16, heads=2, writes=2))
    if keep is not None:
        with torch.no_grad():  # nothing is forgotten, or everything at once
            memory.keep.bias.fill_(keep)
            memory.write.bias.fill_(abs(keep))
    h = torch.randn(4096, 16, generator=rng)
    h = (h[:1].expand(4096, -1) if same else h).clone().requires_grad_()
    out, state = memory(h)
    out.square().mean().backward()
    assert out.isfinite().all()
    assert state.shallow.isfinite().all()
    assert state.deep.isfinite().all()
    assert h.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in memory.parameters())


def test_half_precision_is_summed_in_float32(rng):
    memory, h = layer(), states(rng)
    plain, _ = memory(h, PTR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered, state = memory(h, PTR)
        again, _ = memory(h.bfloat16(), PTR, state)
        single, stepped = memory.step(h[:SETS], state)
        signals, _ = memory.signals(h, PTR)
        few, _ = memory.signals(h[:SETS], torch.arange(SETS + 1), state.line)
    assert lowered.dtype == again.dtype == single.dtype == torch.bfloat16
    assert state.shallow.dtype == state.deep.dtype == torch.float32
    # The median: a token that stands between two slots may go to the other one.
    assert ((lowered - plain).norm(dim=1) / plain.norm(dim=1)).median() < 0.02
    torch.testing.assert_close(state.deep, chunkwise(signals, PTR, memory.start(SETS), CHUNK)[1].deep)
    torch.testing.assert_close(stepped.deep, advance(few, state)[1].deep)
    lowered.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in memory.parameters())
    half, state = memory.bfloat16()(h.bfloat16(), PTR)
    assert half.dtype == torch.bfloat16
    assert state.shallow.dtype == torch.float32
    assert (half - plain).norm() < 0.1 * plain.norm()


def test_slots_are_chosen_in_full_precision(rng):
    memory = layer(writes=1)
    with torch.no_grad():  # equal in half precision: all centres but one
        memory.center.zero_()
        memory.center[..., 0] = 1.0
        memory.center[:, 4, 0] = 1.0 + 2**-11
    with torch.autocast("cpu", dtype=torch.bfloat16):
        signals, _ = memory.signals(states(rng))
    ahead = signals.key[..., 0] > 0.01
    assert ahead.any()
    assert (signals.take.argmax(-1)[ahead] == 4).all()
    assert signals.key.dtype == signals.take.dtype == signals.read.dtype == torch.float32

import pytest
import torch

from structformer.nn import memory_paths
from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.memory_naive import recurrence
from structformer.nn.memory_paths import remember
from structformer.nn.memory_signals import MemoryState, Signals
from structformer.ops import compiled

PTR = torch.tensor([0, 7, 7, 8, 23])


def layer():
    return DeepShallowMemory(DeepShallowMemoryConfig(width=12, heads=3, slots=5, reads=3, chunk=4)).double()


def results(memory, h, form):
    """What comes out, and the gradients of the tokens and of every parameter."""
    inputs = h, *memory.parameters()
    signals, _ = memory.signals(h, PTR)
    out, state = form(signals, PTR, memory.start(len(PTR) - 1))
    told = out, state.shallow, state.deep
    total = sum(x.square().sum() for x in told)
    return told, torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("kernels", [True, False])
def test_each_path_equals_the_recurrence_in_all_gradients(rng, kernels, monkeypatch):
    if not kernels:
        monkeypatch.setattr(compiled, "_library", lambda: None)
    memory, h = layer(), torch.randn(23, 12, generator=rng, dtype=torch.float64).requires_grad_()
    found = results(memory, h, lambda *inputs: remember(*inputs, 4))
    torch.testing.assert_close(found, results(memory, h, recurrence), rtol=0, atol=1e-9)


@pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
@pytest.mark.parametrize(
    ("dtype", "takes"), [(torch.float32, "kernels"), (torch.float64, "kernels"), (torch.bfloat16, "chunks")]
)
def test_the_type_decides(rng, dtype, takes, monkeypatch):
    taken = []

    def kernels(value, shallow, deep, **_):
        taken.append("kernels")
        return value, shallow, deep

    def chunks(signals, _ptr, state, chunk):
        taken.append("chunks")
        assert chunk == 4
        return signals.value, state

    monkeypatch.setattr(memory_paths, "delta_memory", kernels)
    monkeypatch.setattr(memory_paths, "chunkwise", chunks)
    memory = layer()
    signals, _ = memory.signals(torch.randn(23, 12, generator=rng, dtype=torch.float64), PTR)
    lowered = Signals(*(x.to(dtype) for x in vars(signals).values()))
    state = MemoryState(*(x.to(dtype) for x in memory.start(4).parts()[:2]))
    remember(lowered, PTR, state, 4)
    assert taken == [takes]
    remember(lowered, PTR, MemoryState(state.shallow.half(), state.deep.half()), 4)
    assert taken == [takes, "chunks"]

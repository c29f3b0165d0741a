"""The ways in which the deep–shallow memory reads many tokens, and which one is taken."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from structformer.nn.memory_chunks import chunkwise
from structformer.nn.memory_signals import MemoryState, Signals
from structformer.ops.delta_memory import delta_memory, delta_memory_serves


def remember(
    signals: Signals, ptr: Int[Tensor, "pointers"], state: MemoryState, chunk: int
) -> tuple[Float[Tensor, "tokens heads channels"], MemoryState]:
    """Read the tokens of every set, one after the other or a chunk at a time; the results are the same.

    On the CPU the compiled recurrence goes token by token with the states in the cache, which takes a fifth to a tenth
    of the time and computes less. On a GPU, and where the package has no compiled kernels, `chunkwise` works with
    products of matrices; ``chunk`` is for it alone.

    Returns:
        The outputs, and the states after the last token of each set.
    """
    told = vars(signals)
    if delta_memory_serves(*told.values(), state.shallow, state.deep):
        out, shallow, deep = delta_memory(**told, ptr=ptr, shallow=state.shallow, deep=state.deep)
        return out, MemoryState(shallow, deep)
    return chunkwise(signals, ptr, state, chunk)

"""The deep–shallow memory chunk by chunk: the form in which it is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from structformer.nn.memory_signals import MemoryState, Signals
from structformer.nn.packed import ChunkLayout


def chunkwise(
    signals: Signals, ptr: Int[Tensor, "pointers"], state: MemoryState, chunk: int
) -> tuple[Float[Tensor, "tokens heads channels"], MemoryState]:
    """Read the tokens of every set, a chunk at a time (DESIGN 2.6; as DeltaNet in arXiv 2406.06484, section 3).

    Within a chunk that begins with the state S_0, and γ_t = Π_{s ≤ t} g_s, the residuals solve the triangular system

        (I + A) R = V − diag(γ_{t−1}) K S_0,    A_ts = β_s (γ_{t−1}/γ_s) ⟨k_t, k_s⟩ for s < t,

    so that R = U − W S_0, and the chunk maps S_0 to (γ_L I − K̃ᵀ W) S_0 + K̃ᵀ U with k̃_s = β_s (γ_L/γ_s) k_s. U and W
    of all chunks are found at once; only this map is applied chunk after chunk. With R known, slots are sums with
    decay, and what the tokens hear from their own chunk is

        (Q Kᵀ ∘ [(γ_t/γ_s) β_s + (γ'_t/γ'_s) Σ_m p_{m,t} ω_{m,s} β'_s]_{s ≤ t}) R.

    The cost is linear in the number of tokens; nothing larger than [chunk, chunk] is formed.

    Returns:
        The outputs, and the states after the last token of each set.
    """
    layout = ChunkLayout.of(ptr, chunk)
    query, key, value = (layout.enter(x) for x in (signals.query, signals.key, signals.value))
    write, log_decay = layout.enter(signals.write), layout.enter(signals.log_keep).cumsum(-1)

    own, heard = _solve(key, value, write, log_decay)
    end = log_decay[..., -1:]
    late = (key * (write * (end - log_decay).exp())[..., None]).mT
    same = torch.eye(key.shape[-1], dtype=key.dtype, device=key.device)
    move, add = end.exp()[..., None] * same - late @ heard, late @ own
    before, shallow = _carry(layout, state.shallow, torch.matmul, move, add)
    residual = own - heard @ before

    mix = _decay(log_decay, log_decay, 0) * write[..., None, :]
    out = (query * log_decay.exp()[..., None]) @ before
    deep = state.deep
    if deep.shape[2]:
        deep_mix, deep_out, deep = _read_slots(layout, signals, query, key, residual, deep)
        mix, out = mix + deep_mix, out + deep_out
    return layout.leave(out + (query @ key.mT * mix) @ residual), MemoryState(shallow, deep)


def _solve(
    key: Float[Tensor, "chunks heads chunk channels"],
    value: Float[Tensor, "chunks heads chunk channels"],
    write: Float[Tensor, "chunks heads chunk"],
    log_decay: Float[Tensor, "chunks heads chunk"],
) -> tuple[Float[Tensor, "chunks heads chunk channels"], Float[Tensor, "chunks heads chunk channels"]]:
    """Return U and W: the residuals without a past, and what a past takes from them."""
    log_before = F.pad(log_decay[..., :-1], (1, 0))
    system = key @ key.mT * _decay(log_before, log_decay, -1) * write[..., None, :]
    right = torch.cat([value, key * log_before.exp()[..., None]], dim=-1)
    own, heard = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True).chunk(
        2, dim=-1
    )
    return own, heard


def _read_slots(
    layout: ChunkLayout,
    signals: Signals,
    query: Float[Tensor, "chunks heads chunk channels"],
    key: Float[Tensor, "chunks heads chunk channels"],
    residual: Float[Tensor, "chunks heads chunk channels"],
    deep: Float[Tensor, "sets heads slots channels channels"],
) -> tuple[
    Float[Tensor, "chunks heads chunk chunk"],
    Float[Tensor, "chunks heads chunk channels"],
    Float[Tensor, "sets heads slots channels channels"],
]:
    """Return the weights on residuals of the same chunk, what is heard from earlier ones, and the last states."""
    write, read = layout.enter(signals.deep_write), layout.enter(signals.read)
    log_decay = layout.enter(signals.deep_log_keep).cumsum(-1)
    end = log_decay[..., -1:]
    # Slots side by side: a key taken by slot m stands in the m-th of their blocks, and so does a query.
    late = (write * (end - log_decay).exp()[..., None])[..., None] * key[..., None, :]
    add = late.flatten(-2).mT @ residual
    before, after = _carry(layout, deep.flatten(2, 3), torch.mul, end.exp()[..., None], add)
    asked = (read * log_decay.exp()[..., None])[..., None] * query[..., None, :]
    mix = _decay(log_decay, log_decay, 0) * (read @ write.mT)
    return mix, asked.flatten(-2) @ before, after.unflatten(2, deep.shape[2:4])


def _carry(
    layout: ChunkLayout,
    first: Float[Tensor, "sets heads rows channels"],
    apply: Callable[[Tensor, Tensor], Tensor],
    move: Float[Tensor, "chunks heads ..."],
    add: Float[Tensor, "chunks heads rows channels"],
) -> tuple[Float[Tensor, "chunks heads rows channels"], Float[Tensor, "sets heads rows channels"]]:
    """Take states from chunk to chunk, X ← apply(move, X) + add.

    Returns:
        The state before each chunk, and that after the last chunk of each set.
    """
    state, before = first[layout.order], [first[:0]]
    ended: list[Tensor] = []
    for moved, added in zip(move.split(layout.active), add.split(layout.active), strict=True):
        if len(moved) < len(state):
            ended.append(state[len(moved) :])
            state = state[: len(moved)]
        before.append(state)
        state = apply(moved, state) + added
    after = torch.cat([state, *reversed(ended)])
    return torch.cat(before), after[layout.order.argsort()]


def _decay(
    later: Float[Tensor, "chunks heads chunk"], earlier: Float[Tensor, "chunks heads chunk"], diagonal: int
) -> Float[Tensor, "chunks heads chunk chunk"]:
    """Return exp(later_t − earlier_s) for s ≤ t + diagonal, and 0 beyond.

    A difference of logarithms stays finite where a quotient of two tiny decays would not; what lies beyond the
    diagonal would grow without bound, and is taken out before the exponential.
    """
    size = later.shape[-1]
    past = torch.ones(size, size, dtype=torch.bool, device=later.device).tril(diagonal)
    return (later[..., :, None] - earlier[..., None, :]).masked_fill(~past, float("-inf")).exp()

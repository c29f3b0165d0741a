"""The deep–shallow memory chunk by chunk: the form in which it is trained."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from structformer.nn.memory_signals import MemoryState, Signals
from structformer.nn.packed import ChunkLayout


def chunkwise(
    signals: Signals, ptr: Int[Tensor, "pointers"], state: MemoryState, chunk: int
) -> tuple[Float[Tensor, "tokens heads channels"], MemoryState]:
    """Read the tokens of every set, a chunk at a time (mathematics.md, 6).

    The deep memory is a second delta rule, on the residuals of the first, whose keys κ_t = ω_t ⊗ k_t and queries
    p_t ⊗ q_t spread those of the first over the slots.

    The cost is linear in the number of tokens; nothing larger than [chunk, chunk] is formed beside the states.

    Returns:
        The outputs, and the states after the last token of each set.
    """
    layout = ChunkLayout.of(ptr, chunk)
    query, key, value = (layout.enter(x) for x in (signals.query, signals.key, signals.value))
    out, residual, shallow = _delta_rule(
        layout, query, key, value, signals.write, signals.log_keep, state.shallow
    )
    deep = state.deep
    if deep.shape[2]:
        spread_query, spread_key = (
            (layout.enter(share)[..., None] * x[..., None, :]).flatten(-2)
            for share, x in ((signals.read, query), (signals.take, key))
        )
        gates = signals.deep_write, signals.deep_log_keep
        more, _, after = _delta_rule(layout, spread_query, spread_key, residual, *gates, deep.flatten(2, 3))
        out, deep = out + more, after.unflatten(2, deep.shape[2:4])
    return layout.leave(out), MemoryState(shallow, deep)


def _delta_rule(
    layout: ChunkLayout,
    query: Float[Tensor, "chunks heads chunk keys"],
    key: Float[Tensor, "chunks heads chunk keys"],
    value: Float[Tensor, "chunks heads chunk channels"],
    write: Float[Tensor, "tokens heads"],
    log_keep: Float[Tensor, "tokens heads"],
    state: Float[Tensor, "sets heads keys channels"],
) -> tuple[
    Float[Tensor, "chunks heads chunk channels"],
    Float[Tensor, "chunks heads chunk channels"],
    Float[Tensor, "sets heads keys channels"],
]:
    """Write what a state could not predict (as DeltaNet in arXiv 2406.06484, section 3).

    Within a chunk that begins with the state S_0, and γ_t = Π_{s ≤ t} g_s, the residuals solve the triangular system

        (I + A) R = V − diag(γ_{t−1}) K S_0,    A_ts = β_s (γ_{t−1}/γ_s) ⟨k_t, k_s⟩ for s < t,

    so that R = U − W S_0, and the chunk maps S_0 to (γ_L I − K̃ᵀ W) S_0 + K̃ᵀ U with k̃_s = β_s (γ_L/γ_s) k_s. U and W
    of all chunks are found at once; only this map is applied chunk after chunk. With R known, what the tokens hear
    from their own chunk is (Q Kᵀ ∘ [(γ_t/γ_s) β_s]_{s ≤ t}) R.

    Returns:
        What queries read, the residuals, and the states after the last token of each set.
    """
    write, log_decay = layout.enter(write), layout.enter(log_keep).cumsum(-1)
    own, heard = _solve(key, value, write, log_decay)
    end = log_decay[..., -1:]
    late = (key * (write * (end - log_decay).exp())[..., None]).mT
    same = torch.eye(key.shape[-1], dtype=key.dtype, device=key.device)
    before, after = _carry(layout, state, end.exp()[..., None] * same - late @ heard, late @ own)
    residual = own - heard @ before
    mix = query @ key.mT * _decay(log_decay, log_decay, 0) * write[..., None, :]
    return (query * log_decay.exp()[..., None]) @ before + mix @ residual, residual, after


def _solve(
    key: Float[Tensor, "chunks heads chunk keys"],
    value: Float[Tensor, "chunks heads chunk channels"],
    write: Float[Tensor, "chunks heads chunk"],
    log_decay: Float[Tensor, "chunks heads chunk"],
) -> tuple[Float[Tensor, "chunks heads chunk channels"], Float[Tensor, "chunks heads chunk keys"]]:
    """Return U and W: the residuals without a past, and what a past takes from them."""
    log_before = F.pad(log_decay[..., :-1], (1, 0))
    system = key @ key.mT * _decay(log_before, log_decay, -1) * write[..., None, :]
    right = torch.cat([value, key * log_before.exp()[..., None]], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    return solved[..., : value.shape[-1]], solved[..., value.shape[-1] :]


def _carry(
    layout: ChunkLayout,
    first: Float[Tensor, "sets heads keys channels"],
    move: Float[Tensor, "chunks heads keys keys"],
    add: Float[Tensor, "chunks heads keys channels"],
) -> tuple[Float[Tensor, "chunks heads keys channels"], Float[Tensor, "sets heads keys channels"]]:
    """Take states from chunk to chunk, X ← move X + add.

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
        state = moved @ state + added
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

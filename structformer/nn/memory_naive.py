"""The deep–shallow memory token by token: its definition, the way it decodes, and what the chunks must equal."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.nn.memory_signals import MemoryState, Signals


def advance(signals: Signals, state: MemoryState) -> tuple[Float[Tensor, "sets heads channels"], MemoryState]:
    """Read one token a set (mathematics.md, 6).

        r_t = v_t − S_{t−1}ᵀ k_t
        S_t = g_t S_{t−1} + β_t k_t r_tᵀ
        e_t = r_t − Σ_m ω_{m,t} D_{t−1}^(m)ᵀ k_t
        D_t^(m) = g'_t D_{t−1}^(m) + ω_{m,t} β'_t k_t e_tᵀ
        o_t = S_tᵀ q_t + Σ_m p_{m,t} D_t^(m)ᵀ q_t

    Returns:
        The outputs o_t, and the states after the tokens.
    """
    key, keep, deep_keep = signals.key, signals.log_keep.exp(), signals.deep_log_keep.exp()
    residual = signals.value - torch.einsum("shkc,shk->shc", state.shallow, key)
    taken = torch.einsum("sh,shk,shc->shkc", signals.write, key, residual)
    shallow = keep[..., None, None] * state.shallow + taken
    error = residual - torch.einsum("shmkc,shm,shk->shc", state.deep, signals.take, key)
    taken = torch.einsum("sh,shm,shk,shc->shmkc", signals.deep_write, signals.take, key, error)
    deep = deep_keep[..., None, None, None] * state.deep + taken
    out = torch.einsum("shkc,shk->shc", shallow, signals.query)
    out = out + torch.einsum("shmkc,shm,shk->shc", deep, signals.read, signals.query)
    return out, MemoryState(shallow, deep)


def recurrence(
    signals: Signals, ptr: Int[Tensor, "pointers"], state: MemoryState
) -> tuple[Float[Tensor, "tokens heads channels"], MemoryState]:
    """Read the tokens of every set one after the other.

    Returns:
        The outputs, and the states after the last token of each set.
    """
    each, outs = signals.each(), [signals.value[:0]]
    shallow, deep = [state.shallow[:0]], [state.deep[:0]]
    for number, (start, stop) in enumerate(pairwise(ptr.tolist())):
        own = MemoryState(state.shallow[number : number + 1], state.deep[number : number + 1])
        for token in each[start:stop]:
            out, own = advance(token, own)
            outs.append(out)
        shallow.append(own.shallow)
        deep.append(own.deep)
    return torch.cat(outs), MemoryState(torch.cat(shallow), torch.cat(deep))

"""The recurrence of RWKV-7: a matrix whose columns decay each at its own rate, while keys are removed and written."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .chunks import from_chunks, states_before, to_chunks

CHUNK, LONGEST = 32, 128
# RWKV-7's log w = −σ(d)/√e is above the negative of this.
FASTEST = math.exp(-0.5)


def rwkv7_recurrence(
    receptance: Float[Tensor, "batch heads length channels"],
    log_decay: Float[Tensor, "batch heads length channels"],
    removal: Float[Tensor, "batch heads length channels"],
    rate: Float[Tensor, "batch heads length channels"],
    key: Float[Tensor, "batch heads length channels"],
    value: Float[Tensor, "batch heads length values"],
) -> Float[Tensor, "batch heads length values"]:
    """Return o_t = S_t r_tᵀ token by token (Peng et al. 2025, arXiv 2503.14456, section 4.1).

    S_t = S_{t−1} (diag(w_t) − κ̂_tᵀ (a_t ⊙ κ̂_t)) + v_tᵀ k̃_t with rows as vectors, from zeros.

    Args:
        receptance: r.
        log_decay: log w, at most 0.
        removal: κ̂, of length 1.
        rate: a, from 0 to 1: how much of what stands under κ̂ goes, channel by channel.
        key: k̃.
        value: v.
    """
    state, out = value.new_zeros(*value.shape[:2], value.shape[3], key.shape[3]), []
    parts = receptance, log_decay.exp(), removal, rate * removal, key, value
    for r, decay, kappa, written, k, v in zip(*(x.unbind(2) for x in parts), strict=True):
        found = state @ kappa[..., None]
        state = state * decay[..., None, :] - found * written[..., None, :] + v[..., None] * k[..., None, :]
        out.append((state @ r[..., None]).squeeze(-1))
    return torch.stack(out, dim=2)


def rwkv7_chunks(
    receptance: Float[Tensor, "batch heads length channels"],
    log_decay: Float[Tensor, "batch heads length channels"],
    removal: Float[Tensor, "batch heads length channels"],
    rate: Float[Tensor, "batch heads length channels"],
    key: Float[Tensor, "batch heads length channels"],
    value: Float[Tensor, "batch heads length values"],
    chunk: int = CHUNK,
) -> Float[Tensor, "batch heads length values"]:
    """Return the same as `rwkv7_recurrence`, a chunk of tokens at a time.

    With W_t the channels' decay since the chunk began and S its state there, u_t, what token t removes, solves
    u_t = S (W_{t−1} ⊙ κ̂_t) + Σ_{s<t} (⟨κ̂_t, k̃_s⟩_ts v_s − ⟨κ̂_t, a_s ⊙ κ̂_s⟩_ts u_s), ⟨x, y⟩_ts the product weighed by
    W_{t−1}/W_s: a unit lower triangular system, linear in S. So all chunks are solved at once, and only the states
    between them are computed one after the other.

    The quotients are split into c W_t and 1/(c W_s) with a constant c, the inverse of the lowest W in a chunk's middle:
    later tokens change nothing of earlier ones, not even their rounding. With log w above −`FASTEST` no product leaves
    float32 in chunks of up to `LONGEST` tokens; where log w is lower, chunks must be shorter.
    """
    length = key.shape[2]
    chunk = min(chunk, length)
    shape = receptance, log_decay, removal, rate * removal, key, value
    receptance, log_decay, removal, written, key, value = (to_chunks(x, chunk) for x in shape)
    log_through = log_decay.cumsum(3)
    log_before = log_through - log_decay
    middle, end = -FASTEST * chunk / 2, log_through[:, :, :, -1:]
    later, before = (log_through - middle).exp(), (log_before - middle).exp()
    since = (middle - log_through).exp()
    asks = torch.cat([removal * before, receptance * later], dim=3)
    gives = torch.cat([written * since, key * since], dim=3)
    products = (asks @ gives.mT).unflatten(3, (2, -1)).unflatten(-1, (2, -1))
    (remove_written, remove_key), (read_written, read_key) = (part.unbind(-2) for part in products.unbind(3))
    right = torch.cat([remove_key.tril(-1) @ value, removal * log_before.exp()], dim=-1)
    solved = torch.linalg.solve_triangular(remove_written.tril(-1), right, upper=False, unitriangular=True)
    fresh, read = solved.split([value.shape[-1], key.shape[-1]], dim=-1)
    rest = (end - log_through).exp()
    key_end, written_end = (key * rest).mT, (written * rest).mT
    whole = torch.diag_embed(end.squeeze(3).exp())
    state = states_before(whole - written_end @ read, key_end @ value - written_end @ fresh)
    removed = fresh + read @ state
    out = (receptance * log_through.exp()) @ state
    return from_chunks(out + read_key.tril() @ value - read_written.tril() @ removed, length)

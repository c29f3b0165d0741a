"""Linear recurrences in chunks: what recurrent mixers need to work on many tokens at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def to_chunks(
    x: Float[Tensor, "batch heads length channels"], size: int
) -> Float[Tensor, "batch heads chunks size channels"]:
    """Cut the tokens into chunks of one size; the last is filled up with zeros."""
    return F.pad(x, (0, 0, 0, -x.shape[2] % size)).unflatten(2, (-1, size))


def from_chunks(
    x: Float[Tensor, "batch heads chunks size channels"], length: int
) -> Float[Tensor, "batch heads length channels"]:
    """Put the chunks together again, without what the last was filled up with."""
    return x.flatten(2, 3)[:, :, :length]


def states_before(
    transition: Float[Tensor, "batch heads chunks channels channels"],
    update: Float[Tensor, "batch heads chunks channels values"],
) -> Float[Tensor, "batch heads chunks channels values"]:
    """Return the state before each chunk, when chunk n maps a state M to P_n M + Q_n and the first finds zeros.

    Args:
        transition: P.
        update: Q.
    """
    state = torch.zeros_like(update[:, :, 0])
    states = [state]
    for p, q in zip(transition.unbind(2)[:-1], update.unbind(2)[:-1], strict=True):
        state = p @ state + q
        states.append(state)
    return torch.stack(states, dim=2)

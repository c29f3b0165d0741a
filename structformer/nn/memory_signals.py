"""What tokens tell the deep–shallow memory, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Signals:
    """What each token tells each head of the memory (DESIGN 2.6).

    Attributes:
        query: q_t, of length 1.
        key: k_t, of length 1.
        value: v_t.
        log_keep: log g_t ≤ 0, how much of the shallow state stays.
        write: β_t in (0, 1).
        deep_log_keep: log g'_t ≤ 0, how much of the deep states stays.
        deep_write: ω_{m,t} β'_t, how much of the residual each slot takes; zero for most.
        read: p_{m,t}, how much each slot is listened to; zero for most.
    """

    query: Float[Tensor, "tokens heads channels"]
    key: Float[Tensor, "tokens heads channels"]
    value: Float[Tensor, "tokens heads channels"]
    log_keep: Float[Tensor, "tokens heads"]
    write: Float[Tensor, "tokens heads"]
    deep_log_keep: Float[Tensor, "tokens heads"]
    deep_write: Float[Tensor, "tokens heads slots"]
    read: Float[Tensor, "tokens heads slots"]

    def each(self) -> list[Signals]:
        """Return what each token says, one by one."""
        return [Signals(*one) for one in zip(*(x.split(1) for x in vars(self).values()), strict=True)]


@dataclass(frozen=True)
class MemoryState:
    """What the memory holds of each set: of the same size however many tokens it has read.

    Attributes:
        shallow: S, what is coarse and predictable; maps keys to values.
        deep: D^(m), the residuals, slot by slot; without slots when the memory is only shallow.
    """

    shallow: Float[Tensor, "sets heads channels channels"]
    deep: Float[Tensor, "sets heads slots channels channels"]

    def detach(self) -> MemoryState:
        """Return the same without its history, where a gradient shall go back no further."""
        return MemoryState(self.shallow.detach(), self.deep.detach())

"""What tokens tell the deep–shallow memory, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Signals:
    """What each token tells each head of the memory (mathematics.md, 6).

    Attributes:
        query: q_t, of length 1.
        key: k_t, of length 1.
        value: v_t.
        log_keep: log g_t ≤ 0, how much of the shallow state stays.
        write: β_t, at least 0, at most 1, or 1 + g_t where writing may reflect.
        deep_log_keep: log g'_t ≤ 0, how much of the deep states stays.
        deep_write: β'_t, likewise.
        take: ω_{m,t}, the shares of the residual that the slots take; zero for most.
        read: p_{m,t}, how much each slot is listened to; zero for most.
    """

    query: Float[Tensor, "tokens heads channels"]
    key: Float[Tensor, "tokens heads channels"]
    value: Float[Tensor, "tokens heads channels"]
    log_keep: Float[Tensor, "tokens heads"]
    write: Float[Tensor, "tokens heads"]
    deep_log_keep: Float[Tensor, "tokens heads"]
    deep_write: Float[Tensor, "tokens heads"]
    take: Float[Tensor, "tokens heads slots"]
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
        line: Last inputs of the memory's own short convolution; None without one.
    """

    shallow: Float[Tensor, "sets heads channels channels"]
    deep: Float[Tensor, "sets heads slots channels channels"]
    line: Float[Tensor, "sets history features"] | None = None

    def parts(self) -> list[Tensor]:
        """Return all that is kept."""
        return [self.shallow, self.deep] if self.line is None else [self.shallow, self.deep, self.line]

    def forgotten(self, sets: Bool[Tensor, "sets"]) -> MemoryState:
        """Return the same where some sets have read nothing yet."""
        return self._each(lambda x: x.masked_fill(sets.view(-1, *[1] * (x.ndim - 1)), 0.0))

    def detach(self) -> MemoryState:
        """Return the same without its history, where a gradient shall go back no further."""
        return self._each(Tensor.detach)

    def _each(self, change: Callable[[Tensor], Tensor]) -> MemoryState:
        return MemoryState(*(change(x) for x in self.parts()))

"""Memory slots: when their gates open, what they pool, and which tokens read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from structformer.inspect.named import NamedTokens
from structformer.inspect.reasoning_plot import draw_gates, draw_pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots of every set in every step; slots and sets count from 0, in tables steps from 1.

    In every step tokens first read the slots as the step before left them (in the first step as every set has them at
    the beginning), then go through the layers; then the slots are written.

    Attributes:
        tokens: Who wrote and read.
        kept: How far a slot's gate kept what was there: 1 leaves the slot as it is, 0 overwrites it. 1 throughout once
            all tokens of a set have halted, or where there are none; 0 throughout without gates.
        pooled: What a slot found to write: its weights on the tokens of a set, which sum to one. 1 − ``kept`` of it
            entered the slot.
        read: A token's weights on the slots of its set, which sum to one.
    """

    tokens: NamedTokens
    kept: Float[np.ndarray, "steps sets slots"]
    pooled: Float[np.ndarray, "steps tokens slots"]
    read: Float[np.ndarray, "steps tokens slots"]

    @property
    def count(self) -> int:
        """Slots a set, M."""
        return self.kept.shape[2]

    def to_frame(self) -> pd.DataFrame:
        """Return what became of each slot, one row for each step, set and slot.

        Returns:
            Columns ``step``, ``set``, ``set_name`` (where there are names), ``slot``, ``kept``, ``tokens`` (to how many
            of equal weight what it pooled amounts: the exponential of the weights' entropy), ``most`` (the token that
            it pooled most, by name) and ``read`` (the mean weight with which tokens read it; 1 / M is even).
        """
        step, place, slot = (axis.ravel() for axis in np.indices(self.kept.shape))
        frame = pd.DataFrame({"step": step + 1, "set": place})
        if self.tokens.set_names is not None:
            frame["set_name"] = pd.Series(np.array(self.tokens.set_names, dtype=object)[place], dtype=object)
        frame["slot"], frame["kept"] = slot, self.kept.ravel()
        logs = np.log(self.pooled, out=np.zeros_like(self.pooled), where=self.pooled > 0)
        frame["tokens"] = np.exp(self.tokens.by_set(-self.pooled * logs)).ravel()
        frame["most"] = pd.Series(self._most(), dtype=object)
        frame["read"] = self.read_by_set().ravel()
        return frame

    def slot(self, slot: int, step: int, of: int = 0) -> pd.DataFrame:
        """Return what a slot pooled in a step, and which tokens read it, the token that it pooled most first.

        Args:
            slot: Counted from 0.
            step: Counted from 1.
            of: Which set, counted from 0.

        Returns:
            One row a token of the set: ``token``, ``name`` (where there are names), ``pooled`` (after the step's
            layers) and ``read`` (before them).

        Raises:
            ValueError: There is no such slot, step or set.
        """
        for what, value, low, high in (
            ("slot", slot, 0, self.count - 1),
            ("step", step, 1, len(self.kept)),
            ("of", of, 0, self.tokens.sets - 1),
        ):
            if not low <= value <= high:
                raise ValueError(f"{what} must be from {low} to {high} (got {value})")
        token = np.arange(self.tokens.ptr[of], self.tokens.ptr[of + 1])
        frame = self.tokens.frame(token).drop(columns="set")
        frame["pooled"], frame["read"] = self.pooled[step - 1, token, slot], self.read[step - 1, token, slot]
        return frame.sort_values("pooled", ascending=False, kind="stable", ignore_index=True)

    def read_by_set(self) -> Float[np.ndarray, "steps sets slots"]:
        """Return the mean weight with which the tokens of each set read its slots; 0 in a set without tokens."""
        return self.tokens.by_set(self.read) / np.maximum(np.diff(self.tokens.ptr), 1)[:, None]

    def plot(self, of: int | None = None, ax: Axes | None = None) -> Axes:
        """Draw how far gates kept what was there, slots by steps.

        Args:
            of: Which set, counted from 0; None is the mean over all.
            ax: matplotlib axes to draw on; by default a new figure that grows with the map.

        Raises:
            ValueError: There is no such set.
        """
        return draw_gates(self, of, ax)

    def plot_tokens(self, step: int | None = None, of: int = 0, top: int = 5) -> np.ndarray:
        """Draw, slot by slot, the tokens that it pooled most, in a figure of its own.

        Args:
            step: Counted from 1; None is the last.
            of: Which set, counted from 0.
            top: Tokens a slot.

        Returns:
            The axes drawn on, one a slot.

        Raises:
            ValueError: There is no such step or set, or ``top`` is less than 1.
        """
        return draw_pooled(self, step, of, top)

    def _most(self) -> list[str | None]:
        found: list[list[str | None]] = []
        for start, end in zip(self.tokens.ptr[:-1], self.tokens.ptr[1:], strict=True):
            if start == end:
                found.append([None] * (len(self.kept) * self.count))
                continue
            place = start + self.pooled[:, start:end].argmax(1).ravel()
            found.append([self.tokens.name(token) for token in place.tolist()])
        by_step = (
            parts[at : at + self.count]
            for at in range(0, len(self.kept) * self.count, self.count)
            for parts in found
        )
        return [name for part in by_step for name in part]

"""Which experts tokens went through, by step and layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from structformer.inspect.named import NamedTokens
from structformer.inspect.reasoning_plot import draw_use

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Routing:
    """The experts of every token in every step and layer; experts count from 0, in tables steps and layers from 1.

    Attributes:
        tokens: Whose they are.
        experts: Experts of a layer, X.
        chosen: The experts that a token went through, the most probable first.
        weights: With which their outputs were mixed; those of a token sum to one, but for a single active expert, whose
            weight is its probability.
        going: Whether a token had not halted before a step: where it had, its experts changed nothing.
    """

    tokens: NamedTokens
    experts: int
    chosen: Int[np.ndarray, "steps layers tokens active"]
    weights: Float[np.ndarray, "steps layers tokens active"]
    going: Bool[np.ndarray, "steps tokens"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each step, layer, token and expert that it went through.

        Returns:
            Columns ``step``, ``layer``, ``set``, ``token`` (its position), ``name`` (where there are names), ``rank``
            (0 is the most probable), ``expert``, ``weight``, and ``going``.
        """
        step, layer, token, rank = (axis.ravel() for axis in np.indices(self.chosen.shape))
        frame = self.tokens.frame(token)
        frame.insert(0, "step", step + 1)
        frame.insert(1, "layer", layer + 1)
        frame["rank"], frame["expert"] = rank, self.chosen.ravel()
        frame["weight"], frame["going"] = self.weights.ravel(), self.going[step, token]
        return frame

    def use(self) -> pd.DataFrame:
        """Return how much each expert was used: its share of the weights, `[steps · layers, experts]`.

        Rows are indexed by ``step`` and ``layer`` and sum to one, but for steps before which all tokens had halted:
        there nothing is used. An expert through which no token went, a dead one, has 0.
        """
        counted = self.weights * self.going[:, None, :, None]
        flat = counted.reshape(-1, counted.shape[2] * counted.shape[3])
        experts = self.chosen.reshape(flat.shape)
        total = np.stack([np.bincount(x, w, self.experts) for x, w in zip(experts, flat, strict=True)])
        sums = total.sum(1, keepdims=True)
        share = np.divide(total, sums, out=np.zeros_like(total), where=sums > 0)
        steps, layers = (range(1, count + 1) for count in self.chosen.shape[:2])
        index = pd.MultiIndex.from_product([steps, layers], names=["step", "layer"])
        return pd.DataFrame(share, index=index, columns=pd.RangeIndex(self.experts, name="expert"))

    def use_by_column(self) -> pd.DataFrame:
        """Return the same for the cells of each column of a table, over all steps and layers, `[columns, experts]`.

        Raises:
            ValueError: The tokens are not those of a table.
        """
        columns = self.tokens.columns
        if columns is None:
            raise ValueError("use_by_column needs the cells of a table (these tokens have no columns)")
        place = np.arange(len(self.tokens)) % max(1, len(columns))
        key = (place[:, None] * self.experts + self.chosen).ravel()
        counted = (self.weights * self.going[:, None, :, None]).ravel()
        total = np.bincount(key, counted, len(columns) * self.experts).reshape(-1, self.experts)
        sums = np.maximum(total.sum(1, keepdims=True), 1e-12)
        return pd.DataFrame(total / sums, list(columns), pd.RangeIndex(self.experts, name="expert"))

    def dead(self) -> list[tuple[int, int]]:
        """Return (layer, expert) of each expert through which no token went in any step; layers count from 1."""
        by_step = self.use().to_numpy().reshape(*self.chosen.shape[:2], self.experts)
        layers, experts = np.nonzero(by_step.max(axis=0) == 0)
        return list(zip((layers + 1).tolist(), experts.tolist(), strict=True))

    def in_effect(
        self,
    ) -> tuple[
        Int[np.ndarray, "steps layers tokens active"], Float[np.ndarray, "steps layers tokens active"]
    ]:
        """Return ``chosen`` and ``weights``; once a token has halted, those of the last step that it took."""
        last = np.minimum(np.arange(len(self.going))[:, None], self.going.sum(0) - 1)[:, None, :, None]
        chosen, weights = (np.take_along_axis(part, last, axis=0) for part in (self.chosen, self.weights))
        return chosen, weights

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw `use` as a map, steps (and layers) by experts; an expert through which nobody goes is said to be dead.

        Args:
            ax: matplotlib axes to draw on; by default a new figure that grows with the map.
        """
        return draw_use(self, ax)

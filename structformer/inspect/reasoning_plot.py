"""Pictures of experts and memory slots: maps over steps, and what each slot pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from structformer.graph.colours import PALETTE, shorten
from structformer.graph.texts import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from structformer.inspect.routing import Routing
    from structformer.inspect.slots import Slots

_MOST_WRITTEN = 160


def draw_use(routing: Routing, ax: Axes | None = None) -> Axes:
    """See `Routing.plot`."""
    use = routing.use()
    layers = routing.chosen.shape[1]
    rows = [f"step {step}" + (f", layer {layer}" if layers > 1 else "") for step, layer in use.index]
    dead = {expert for _, expert in routing.dead()}
    said = "\ndead" if layers == 1 else "\ndead in a layer"
    columns = [f"{expert}{said if expert in dead else ''}" for expert in use.columns]
    top = min(1.0, max(float(use.to_numpy().max()), 2 / routing.experts))
    ax = draw_map(use.to_numpy(), rows, columns, (0.0, top), "share of the weights", ax)
    ax.set_xlabel("expert", fontsize=9, color=INK)
    return ax


def draw_gates(slots: Slots, of: int | None = None, ax: Axes | None = None) -> Axes:
    """See `Slots.plot`."""
    if of is not None and not 0 <= of < slots.tokens.sets:
        raise ValueError(f"of must be from 0 to {slots.tokens.sets - 1}, or None (got {of})")
    kept = slots.kept.mean(axis=1) if of is None else slots.kept[:, of]
    rows = [f"slot {slot}" for slot in range(slots.count)]
    columns = [str(step) for step in range(1, len(kept) + 1)]
    ax = draw_map(kept.T, rows, columns, (0.0, 1.0), "kept of what was there", ax)
    ax.set_xlabel("step", fontsize=9, color=INK)
    if of is None and slots.tokens.sets > 1:
        ax.set_title(f"Mean of {slots.tokens.sets:,} sets", fontsize=9, color=INK)
    return ax


def draw_pooled(slots: Slots, step: int | None = None, of: int = 0, top: int = 5) -> np.ndarray:
    """See `Slots.plot_tokens`."""
    import matplotlib.pyplot as plt

    if top < 1:
        raise ValueError(f"top must be at least 1 (got {top})")
    step = len(slots.kept) if step is None else step
    frames = [slots.slot(slot, step, of).head(top) for slot in range(slots.count)]
    across = min(4, slots.count)
    down = -(-slots.count // across)
    size = (2.5 * across, 0.55 + (0.45 + 0.22 * top) * down)
    figure, axes = plt.subplots(
        down, across, figsize=size, squeeze=False, sharex=True, layout="constrained", facecolor="white"
    )
    for ax in axes.flat[slots.count :]:
        ax.set_visible(False)
    for slot, (ax, frame) in enumerate(zip(axes.flat, frames, strict=False)):
        names = [shorten(slots.tokens.name(token), 18) for token in frame["token"]]
        places = np.arange(len(frame))
        ax.set_facecolor("white")
        ax.barh(places, frame["pooled"], color=PALETTE[0], height=0.7)
        ax.set_yticks(places, names, fontsize=8, color=INK, parse_math=False)
        ax.set_ylim(top - 0.5, -0.5)
        ax.set_title(f"slot {slot}, {slots.kept[step - 1, of, slot]:.0%} kept", fontsize=9, color=INK)
        ax.tick_params(length=0, labelsize=8, colors=INK)
        ax.spines[["top", "right", "left"]].set_visible(False)
    figure.supxlabel(f"weight on a token in step {step}", fontsize=9, color=INK)
    return axes.ravel()[: slots.count]


def draw_map(
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float],
    label: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw numbers as a heat map, and write them into its cells where these are not too many.

    Args:
        values: What is drawn.
        rows: Names of the rows.
        columns: Names of the columns.
        limits: What the lightest and the darkest shade mean.
        label: What the numbers are.
        ax: matplotlib axes to draw on; by default a new figure that grows with the map.
    """
    from matplotlib.colors import Normalize

    if ax is None:
        import matplotlib.pyplot as plt

        size = (2.2 + 0.075 * max(map(len, rows)) + 0.5 * len(columns), 1.1 + 0.32 * len(rows))
        figure = plt.figure(figsize=size, layout="constrained", facecolor="white")
        ax = figure.add_subplot()
    ax.set_facecolor("white")
    image = ax.imshow(values, cmap="Blues", norm=Normalize(*limits), aspect="auto")
    ax.set_xticks(range(len(columns)), columns, fontsize=8, color=INK)
    ax.set_yticks(range(len(rows)), rows, fontsize=8, color=INK)
    ax.spines[:].set_visible(False)
    # White lines between the cells.
    ax.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    if values.size <= _MOST_WRITTEN:
        dark = limits[0] + 0.6 * (limits[1] - limits[0])
        for (row, column), value in np.ndenumerate(values):
            color = "white" if value > dark else INK
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=color)
    bar: Any = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return ax

"""Which columns of a table listen to which, as a heat map."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from structformer.graph.colours import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_WRITTEN = 12


def plot_columns(frame: pd.DataFrame, ax: "Axes | None" = None, max_columns: int = 40) -> "Axes":
    """Draw the weights between a table's columns, such as an estimator's `column_graph(X)`, as a heat map.

    Shades run from nothing to the greatest weight between two different columns; a column's weight on
    itself, often far greater, is cut off there. Up to twelve columns the weights are written too.

    Args:
        frame: `[columns, columns]` weights, not negative; rows are the columns that listen, columns those
            listened to, in the same order.
        ax: matplotlib axes to draw on; by default a new figure that grows with the number of columns.
        max_columns: Of more columns those with the most weight to and from others are drawn, and the
            title says so.

    Returns:
        The axes drawn on.

    Raises:
        ValueError: If `frame` is empty, not square, names its rows otherwise than its columns or holds
            anything but finite numbers that are not negative, or if `max_columns` is less than 1.

    Example:
        >>> names = ["age", "income"]
        >>> plot_columns(pd.DataFrame([[0.9, 0.1], [0.4, 0.6]], names, names))
        <Axes: ...>
    """
    from matplotlib.colors import Normalize

    names, values = _checked(frame, max_columns)
    count = len(names)
    between = np.where(np.eye(count, dtype=bool), 0.0, values)
    top = float(between.max()) or float(values.max()) or 1.0
    title = ""
    if count > max_columns:
        kept = np.sort(np.argsort(-(between.sum(0) + between.sum(1)), kind="stable")[:max_columns])
        values, names = values[np.ix_(kept, kept)], [names[i] for i in kept]
        title = f"Shown: the {max_columns} of {count:,} columns with the most weight between them"
        count = max_columns
    ink = None
    if ax is None:
        import matplotlib.pyplot as plt

        cell = 0.42 if count <= _MOST_WRITTEN else 0.28
        side = max(cell * count, 2.0) + 0.075 * max(map(len, names))
        figure = plt.figure(figsize=(side + 1.0, side), layout="constrained", facecolor="white")
        ax, ink = figure.add_subplot(), "#30343B"
    ax.set_facecolor("white")
    image = ax.imshow(values, cmap="Blues", norm=Normalize(0, top))
    size = float(np.clip(10 - count / 12, 6.5, 9))
    ax.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 4 else 0, fontsize=size)
    ax.set_yticks(range(count), names, fontsize=size)
    for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
        text.set_parse_math(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    # White lines between the cells.
    ax.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    if count <= _MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if value > 0.6 * top else "#30343B"
            ax.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize=min(size, 7.5), color=color
            )
    ax.set_xlabel("listened to", fontsize=9)
    ax.set_ylabel("listens", fontsize=9)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, extend="max" if values.max() > top else "neither")
    bar.set_label("weight", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if title:
        ax.set_title(title, fontsize=9)
    if ink:
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label, bar.ax.yaxis.label):
            text.set_color(ink)
        for shown in (ax, bar.ax):
            shown.tick_params(colors=ink)
    return ax


def _checked(frame: pd.DataFrame, max_columns: int) -> tuple[list[str], np.ndarray]:
    """Names and weights of a frame that can be drawn."""
    if max_columns < 1:
        raise ValueError(f"max_columns must be at least 1 (got {max_columns})")
    if frame.ndim != 2 or frame.shape[0] != frame.shape[1] or not frame.size:
        raise ValueError(f"frame must be of shape [columns, columns], at least one (got {list(frame.shape)})")
    if list(frame.index) != list(frame.columns):
        raise ValueError("frame must name its rows as its columns, in the same order, as column_graph does")
    try:
        values = frame.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("frame must hold numbers") from None
    if not np.isfinite(values).all() or (values < 0).any():
        bad = values[~np.isfinite(values) | (values < 0)][0]
        raise ValueError(f"frame must hold finite weights that are not negative (got {bad})")
    return [shorten(str(name), 24) for name in frame.columns], values

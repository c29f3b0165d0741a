"""The picture of the efficiency benchmark: attention beside its rivals, and how ours grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from structformer.tokenize.files import replacing

from .efficiency_records import Record

# Full lines carry the names in the legend; the others repeat their colours.
STYLES = {"random": "-", "clustered": "--"}


def draw(records: Sequence[Record], path: Path) -> None:
    """Write a picture of four panels to a `.png` file: attention's time and memory, scaling's time and memory.

    Arms without numbers are left out.
    """
    figure = Figure(figsize=(12, 10), layout="constrained")
    panels = figure.subplots(2, 2)
    for column, quantity in enumerate(("milliseconds", "megabytes")):
        for row, comparison in enumerate(("attention layer", "scaling")):
            axes = panels[row][column]
            for graph, style in STYLES.items():
                found = [entry for entry in records if entry["comparison"] == f"{comparison}, {graph}"]
                _lines(axes, found, quantity, style)
            _finish(axes, f"{comparison}: {quantity}")
    figure.suptitle(
        "attention layers, forward and backward; full lines: random neighbours, dashed: clustered"
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _lines(axes: Axes, records: Sequence[Record], quantity: str, style: str) -> None:
    """Draw one line an arm; an arm keeps its colour from graph to graph."""
    for number, arm in enumerate(dict.fromkeys(entry["arm"] for entry in records)):
        there = [entry for entry in records if entry["arm"] == arm and entry[quantity]]
        if there:
            axes.plot(
                [entry["tokens"] for entry in there],
                [entry[quantity] for entry in there],
                style,
                color=f"C{number}",
                marker="o",
                label=arm if style == STYLES["random"] else "_",
            )


def _finish(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="tokens", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    if axes.lines:
        sizes = sorted({int(x) for line in axes.lines for x in np.asarray(line.get_xdata())})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(fontsize=8)

"""One page of plots for a family of tasks: every arm's score on every data set, with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from structformer.tokenize.files import replacing

if TYPE_CHECKING:
    from .report import Reported

OURS, OTHERS = "#c0392b", "#5d6d7e"
MOST_COLUMNS = 3


def plot_family(found: Sequence[Reported], path: Path) -> None:
    """Draw a panel for each data set with several arms, these from worst to best, and write the picture."""
    panels = [(one, data, rows) for one in found for data, rows in one.data().items() if len(rows) > 1]
    columns = min(MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    most = max(len(rows) for _, _, rows in panels)
    figure = Figure(figsize=(4.6 * columns, (1.2 + 0.24 * most) * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, (one, data, arms) in zip(axes, panels, strict=False):
        sign = 1 if one.card.better == "higher" else -1
        rows = [row for row in arms if row["mean"] is not None]
        rows.sort(key=lambda row: sign * row["mean"])
        for place, row in enumerate(rows):
            colour = OURS if row["arm"] == one.card.headline else OTHERS
            ax.errorbar(
                row["mean"], place, xerr=row["sd"] or 0.0, fmt="o", color=colour, markersize=5, capsize=2
            )
        ax.set_yticks(range(len(rows)), [row["arm"] for row in rows], fontsize=7)
        ax.set_title(f"{one.card.name}: {data}", fontsize=9)
        ax.set_xlabel(one.card.measure, fontsize=7)
        ax.tick_params(axis="x", labelsize=7)
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")

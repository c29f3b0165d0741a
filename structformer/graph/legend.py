"""What a picture's colours and markers mean: a legend for classes, a colour bar for a scale."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from structformer.graph.colours import PALETTE, UNKNOWN, Colouring, shorten
from structformer.graph.selection import Selection
from structformer.graph.texts import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

MARKERS = "osD^vP"


def look(code: int, colours: Colouring) -> tuple[str, str]:
    """Colour and marker of a class; tokens of a graph without labels are not unknown but plain."""
    if code < 0:
        return (UNKNOWN if colours.labelled else PALETTE[0]), "o"
    return PALETTE[code % len(PALETTE)], MARKERS[code // len(PALETTE) % len(MARKERS)]


def explain(
    ax: "Axes",
    where: Any,
    shown: Selection,
    colours: Colouring,
    ink: str,
    own: bool,
    places: Float[np.ndarray, "nodes 2"],
) -> None:
    """A colour bar for a scale, a legend for classes.

    Args:
        ax: Axes with the picture, or the first of several.
        where: What the legend belongs to: the axes, or the figure if there are several.
        shown: What is drawn.
        colours: What is explained.
        ink: Colour that can be read on the figure.
        own: Whether the figure was made for the picture, and so has room beside it.
        places: Of nodes, which a legend inside the axes must not cover.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.lines import Line2D

    figure, looks = ax.figure, dict[int, tuple[str, str]]()
    if colours.values is not None:
        limits = Normalize(*colours.limits)
        pictures = ax if where is ax else figure.axes
        bar = figure.colorbar(ScalarMappable(limits, "cividis"), ax=pictures, shrink=0.5)
        bar.set_label("mean label" if shown.grouped else "label", color=ink)
        bar.ax.tick_params(colors=ink, labelsize=8)
        bar.outline.set_visible(False)
        return
    if shown.grouped:
        colours = colours.commonest()
        looks = {code: (color, "o") for code, color in enumerate(colours.palette())}
    codes = np.unique(colours.codes[shown.tokens]).tolist()
    if not colours.labelled or len(colours.classes) > len(PALETTE) * len(MARKERS):
        return
    handles: list[Line2D] = []
    for code in codes:
        color, marker = looks.get(code) or look(code, colours)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="", markersize=6))
    texts = ["unlabelled" if code < 0 else shorten(colours.classes[code]) for code in codes]
    place: dict[str, Any] = {"loc": "best"} if where is ax else {"loc": "outside right upper"}
    if where is ax and own:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    # Labels are set afterwards: matplotlib hides those that begin with an underscore.
    place["ncols"] = 1 + (len(handles) - 1) // 22
    legend = where.legend(handles, [""] * len(handles), fontsize=8, frameon=False, labelcolor=INK, **place)
    for text, content in zip(legend.get_texts(), texts, strict=True):
        text.set_parse_math(False)
        text.set_text(content)
    if where is ax and not own:
        _keep_clear(ax, legend, places)


def _keep_clear(ax: "Axes", legend: "Legend", places: Float[np.ndarray, "nodes 2"]) -> None:
    """Show more paper on the right where the legend would cover nodes."""
    ax.figure.figure.draw_without_rendering()
    box = legend.get_window_extent()
    on_page = ax.transData.transform(places)
    inside = (on_page >= box.min) & (on_page <= box.max)
    if inside.all(1).any():
        left, right = places[:, 0].min(), places[:, 0].max()
        share = min(box.width / ax.bbox.width, 0.5)
        ax.update_datalim([(left + (right - left) / (1 - share), places[0, 1])])
        ax.autoscale_view()
        legend.set_loc("upper right")

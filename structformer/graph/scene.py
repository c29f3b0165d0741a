"""What the pictures of all steps of a graph share, and how it is drawn with matplotlib."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from structformer.graph.colours import UNKNOWN, Colouring, colouring
from structformer.graph.discs import captions, draw_discs, legend_of, write_captions
from structformer.graph.layout import layout
from structformer.graph.legend import look
from structformer.graph.selection import Edges, Selection
from structformer.graph.texts import write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from structformer.graph import TokenGraph

EDGE = (0.28, 0.33, 0.40)


def placed(shown: Selection, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Where nodes lie, and the radii of communities."""
    radii = (shown.sizes / shown.sizes.mean()) ** 0.5 if shown.grouped else None
    return layout(shown.union.pairs, shown.union.weight, len(shown.sizes), seed, radii), radii


@dataclass(frozen=True)
class Scene:
    """What the pictures of all steps share: nodes, their places and colours, and what a line's strength means."""

    graph: "TokenGraph"
    shown: Selection
    colours: Colouring
    places: np.ndarray
    radii: np.ndarray | None
    areas: np.ndarray
    span: "Normalize"

    @classmethod
    def of(
        cls,
        graph: "TokenGraph",
        shown: Selection,
        labels: Any,
        places: np.ndarray,
        radii: np.ndarray | None,
        ax: "Axes",
    ) -> "Scene":
        """A scene for axes as large as `ax`; of communities the area, of tokens the size on paper is fixed."""
        extent, tokens = ax.get_window_extent(), shown.tokens
        points = extent.width * extent.height * (72 / ax.figure.dpi) ** 2
        area = float(np.clip(0.032 * points / max(len(tokens), 1), 14, 190))
        # The sources of a bipartite graph are smaller.
        areas = np.where(graph.is_bipartite & (tokens >= graph.num_targets), 0.45 * area, area)
        return cls(graph, shown, colouring(graph, labels), places, radii, areas, _span(shown.steps))

    def title(self) -> str:
        """What is left out, and what a community's caption says; empty where nothing needs to be said."""
        if not self.shown.notes:
            return ""
        said = "Shown: " + ", ".join(self.shown.notes)
        return f"{said}\n{legend_of(self.graph, self.colours)}" if self.shown.grouped else said

    def fill(self, ax: "Axes", edges: Edges) -> None:
        """Lines and nodes on white paper."""
        ax.set_facecolor("white")
        # Not set_axis_off, which takes the paper away too.
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.06)
        if len(edges.pairs):
            _draw_edges(ax, self.places[edges.pairs], edges.weight, self.span, self.shown.grouped)
        if self.radii is not None:
            draw_discs(ax, self.shown, self.colours, self.places, self.radii)
        else:
            _draw_nodes(ax, self.colours, self.shown.tokens, self.places, self.areas)
        ax.autoscale_view()

    def name(self, ax: "Axes", most: int) -> None:
        """Names or captions where there is room for them, once everything else has found its place."""
        shown, count = self.shown, len(self.shown.sizes)
        if self.radii is not None:
            texts = captions(self.graph, shown, self.colours)
            write_captions(ax, texts, shown, self.places, self.radii, most)
            return
        names = _names(self.graph)
        if names is not None and count:
            lines = shown.union
            rank = np.bincount(lines.pairs.ravel(), np.repeat(lines.weight, 2), count)
            reach = self.areas**0.5 / 2
            write_names(ax, [names[i] for i in shown.tokens], self.places, reach, rank, most)


def _draw_edges(ax: "Axes", ends: np.ndarray, weight: np.ndarray, span: "Normalize", grouped: bool) -> None:
    """Lines between `ends` `[p, 2, 2]`, the stronger ones darker, wider and on top."""
    from matplotlib.collections import LineCollection

    # A graph of equal weights is drawn evenly, at a middle strength.
    flat = span.vmin == span.vmax
    share = np.full(len(weight), 0.5) if flat else np.asarray(span(weight), dtype=float)
    order = np.argsort(share, kind="stable")
    share = share[order]
    crowd = min(1.0, (150 / len(weight)) ** 0.25)
    colors = np.column_stack([np.tile(EDGE, (len(weight), 1)), (0.2 + 0.6 * share) * crowd])
    thickest = min(5.5, ax.get_window_extent().width * 72 / ax.figure.dpi / 80) if grouped else 1.3
    widths = 0.5 + thickest * share
    ax.add_collection(
        LineCollection(list(ends[order]), colors=colors, linewidths=widths, capstyle="round", zorder=1)
    )


def _draw_nodes(
    ax: "Axes", colours: Colouring, tokens: np.ndarray, places: np.ndarray, areas: np.ndarray
) -> None:
    """Tokens coloured by label."""
    outline: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8, "zorder": 2}
    codes = colours.codes[tokens]
    if colours.values is not None:
        values = colours.values[tokens]
        known = np.isfinite(values)
        limits = dict(zip(("vmin", "vmax"), colours.limits, strict=True))
        ax.scatter(*places[~known].T, s=areas[~known], c=UNKNOWN, **outline)
        ax.scatter(*places[known].T, s=areas[known], c=values[known], cmap="cividis", **limits, **outline)
        return
    for code in np.unique(codes).tolist():
        here, (color, marker) = codes == code, look(code, colours)
        ax.scatter(*places[here].T, s=areas[here], c=color, marker=marker, **outline)


def _names(graph: "TokenGraph") -> list[str] | None:
    if not graph.is_bipartite:
        return graph.names
    if graph.names is None or graph.source_names is None:
        return None
    return [*graph.names, *graph.source_names]


def _span(steps: "tuple[Edges, ...] | list[Edges]") -> "Normalize":
    """From the weakest to the strongest line of all steps."""
    from matplotlib.colors import Normalize

    weight = np.concatenate([edges.weight for edges in steps])
    return (
        Normalize(weight.min(initial=np.inf), weight.max(initial=-np.inf)) if len(weight) else Normalize(0, 1)
    )

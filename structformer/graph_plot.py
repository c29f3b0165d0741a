"""Pictures of a TokenGraph: light, colour-blind safe, readable without settings.

matplotlib is imported only when something is drawn.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from structformer.graph_colours import UNKNOWN, Colouring, colouring
from structformer.graph_columns import plot_columns
from structformer.graph_discs import captions, draw_discs, legend_of, write_captions
from structformer.graph_labels import Labels
from structformer.graph_layout import layout
from structformer.graph_legend import explain, look
from structformer.graph_selection import Edges, Large, Selection, select
from structformer.graph_structure import Strength, by
from structformer.graph_texts import INK, write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from structformer.graph import TokenGraph

__all__ = ["draw", "draw_steps", "plot_columns"]

EDGE = (0.28, 0.33, 0.40)
MAX_NAMED = 60


def draw(
    graph: "TokenGraph",
    ax: "Axes | None" = None,
    labels: Labels | None = None,
    threshold: float | None = None,
    max_nodes: int = 300,
    large: Large = "communities",
    seed: int = 0,
    strength: Strength | None = None,
) -> "Axes":
    """Draw the graph; direction, self-loops and edges of no strength are not drawn.

    Connected parts, and so the sets of a batch, are drawn side by side. Names are written where
    there is room, those of the best connected tokens first.

    Args:
        ax: matplotlib axes to draw on; by default a new figure.
        labels: One label for each target, shown as colour; by default the graph's own. Many
            different numbers make a scale, all else makes classes.
        threshold: Weaker lines are not drawn. By default all are, or if there are more
            than six for each node drawn, that many of the strongest, and each node's strongest.
        max_nodes: How many tokens are drawn one by one.
        large: What is drawn of more tokens than that, as the title says. `"communities"`: up to
            40 of them as discs, the area being the number of tokens, a pie the shares of their labels,
            the width of a line the total weight between two. `"hubs"`: the `max_nodes` tokens of the
            greatest weighted degree.
        seed: Seed of the layout and of the communities.
        strength: What makes a line strong: `"support"`, how much the edge speaks for what was predicted, or
            `"weight"`, how much is listened to along it. By default support, where the graph has it.

    Returns:
        The axes drawn on.

    Raises:
        ValueError: If `max_nodes` is less than 1, `large` is unknown, the labels do not fit, or support is asked for
            and there is none.
    """
    graph = by(graph, strength)
    shown = select([graph], threshold, max_nodes, large, seed)
    own = ax is None
    places, radii = _placed(shown, seed)
    if ax is None:
        ax = _figure(1, 1, 8, _height(places, radii, 8, 6.5))[0]
    ink = _ink_on(ax)
    scene = _Scene.of(graph, shown, labels, places, radii, ax)
    scene.fill(ax, shown.steps[0])
    ax.set_title(scene.title(), fontsize=9, color=ink)
    explain(ax, ax, shown, scene.colours, ink, own)
    if own:
        _settle(ax)
    scene.name(ax, MAX_NAMED)
    return ax


def draw_steps(
    graph: "TokenGraph",
    labels: Labels | None = None,
    threshold: float | None = None,
    max_nodes: int = 300,
    large: Large = "communities",
    seed: int = 0,
    columns: int = 4,
    strength: Strength | None = None,
) -> "list[Axes]":
    """Draw every step beside the others in a new figure, each token in the same place in all.

    Lines are as dark and as wide in one step as lines of the same strength in another.

    Args:
        labels: As in `plot`.
        threshold: As in `plot`.
        max_nodes: As in `plot`.
        large: As in `plot`; communities are those of all steps together.
        seed: As in `plot`.
        columns: Pictures in a row.
        strength: As in `plot`.

    Returns:
        The axes drawn on, one for each step.

    Raises:
        ValueError: As `plot`, or if `columns` is less than 1.
    """
    if columns < 1:
        raise ValueError(f"columns must be at least 1 (got {columns})")
    graph = by(graph, strength)
    steps = graph.steps
    shown = select(steps, threshold, max_nodes, large, seed)
    columns = min(columns, len(steps))
    rows = -(-len(steps) // columns)
    places, radii = _placed(shown, seed)
    width = max(3.4 * columns, 4.5)
    height = _height(places, radii, width / columns, 3.2)
    axes = _figure(rows, columns, width, height * rows + 0.5)
    scene = _Scene.of(graph, shown, labels, places, radii, axes[0])
    for number, (ax, edges) in enumerate(zip(axes, shown.steps, strict=False), 1):
        noun = "link" if shown.grouped else "line"
        drawn = f"{len(edges.pairs):,} {noun}{'' if len(edges.pairs) == 1 else 's'}"
        ax.set_title(f"step {number}: {drawn}", fontsize=9, color=INK)
        scene.fill(ax, edges)
    for ax in axes[len(steps) :]:
        ax.remove()
    figure = axes[0].figure
    if shown.notes:
        figure.suptitle(scene.title(), fontsize=9, color=INK)
    axes = axes[: len(steps)]
    explain(axes[0], figure, shown, scene.colours, INK, own=True)
    _settle(axes[0])
    for ax in axes:
        scene.name(ax, MAX_NAMED // 3)
    return axes


def _figure(rows: int, columns: int, width: float, height: float) -> "list[Axes]":
    import matplotlib.pyplot as plt

    # White under every style: the colours were chosen for paper.
    figure = plt.figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure.subplots(rows, columns, squeeze=False).ravel().tolist()


def _placed(shown: Selection, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Where nodes lie, and the radii of communities."""
    radii = (shown.sizes / shown.sizes.mean()) ** 0.5 if shown.grouped else None
    return layout(shown.union.pairs, shown.union.weight, len(shown.sizes), seed, radii), radii


def _height(places: np.ndarray, radii: np.ndarray | None, width: float, most: float) -> float:
    """Inches that a picture of these places needs where it is so wide: no more paper than nodes and words fill."""
    if len(places) < 2:
        return 0.6 * most
    reach = 0.0 if radii is None else radii[:, None]
    across, up = (places + reach).max(0) - (places - reach).min(0)
    return float(np.clip(width * up / max(across, 1e-9) + 0.8, 0.5 * most, most))


def _settle(ax: "Axes") -> None:
    """Let the layout give the axes their size, which is where names find room."""
    from matplotlib.figure import Figure

    if isinstance(ax.figure, Figure):
        ax.figure.draw_without_rendering()


def _ink_on(ax: "Axes") -> str:
    """A colour that can be read on the figure that the axes belong to."""
    from matplotlib.colors import to_rgba

    *channels, opacity = to_rgba(ax.figure.get_facecolor())
    brightness = float(np.dot(channels, (0.2126, 0.7152, 0.0722)))
    if opacity < 0.5:
        return "#7A828E"
    return INK if brightness > 0.45 else "#E4E7EB"


def _span(steps: "tuple[Edges, ...] | list[Edges]") -> "Normalize":
    """From the weakest to the strongest line of all steps."""
    from matplotlib.colors import Normalize

    weight = np.concatenate([edges.weight for edges in steps])
    return (
        Normalize(weight.min(initial=np.inf), weight.max(initial=-np.inf)) if len(weight) else Normalize(0, 1)
    )


@dataclass(frozen=True)
class _Scene:
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
    ) -> "_Scene":
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

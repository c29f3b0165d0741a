"""Pictures of a TokenGraph: light, colour-blind safe, readable without settings.

matplotlib is imported only when something is drawn.
"""

from typing import TYPE_CHECKING

import numpy as np

from structformer.graph.labels import Labels
from structformer.graph.legend import explain
from structformer.graph.scene import Scene, placed
from structformer.graph.selection import Large, select
from structformer.graph.structure import Strength, by
from structformer.graph.texts import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from structformer.graph import TokenGraph

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
    places, radii = placed(shown, seed)
    if ax is None:
        ax = _figure(1, 1, 8, _height(places, radii, 8, 6.5))[0]
    ink = _ink_on(ax)
    scene = Scene.of(graph, shown, labels, places, radii, ax)
    scene.fill(ax, shown.steps[0])
    ax.set_title(scene.title(), fontsize=9, color=ink)
    explain(ax, ax, shown, scene.colours, ink, own=own, places=places)
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
    places, radii = placed(shown, seed)
    width = max(3.4 * columns, 4.5)
    height = _height(places, radii, width / columns, 3.2)
    axes = _figure(rows, columns, width, height * rows + 0.5)
    scene = Scene.of(graph, shown, labels, places, radii, axes[0])
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
    explain(axes[0], figure, shown, scene.colours, INK, own=True, places=places)
    _settle(axes[0])
    for ax in axes:
        scene.name(ax, MAX_NAMED // 3)
    return axes


def _figure(rows: int, columns: int, width: float, height: float) -> "list[Axes]":
    import matplotlib.pyplot as plt

    # White under every style: the colours were chosen for paper.
    figure = plt.figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure.subplots(rows, columns, squeeze=False).ravel().tolist()


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

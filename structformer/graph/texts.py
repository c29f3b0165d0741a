"""Names beside the nodes of a picture, as many as find room without covering each other or a node."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from structformer.graph.colours import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#30343B"
# Where a text's middle goes, in its half sizes beyond the node's edge: above, below, right, left, corners.
_SPOTS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0.85, 0.85), (-0.85, 0.85), (0.85, -0.85), (-0.85, -0.85))


def write_names(
    ax: "Axes",
    names: Sequence[str],
    places: Float[np.ndarray, "nodes 2"],
    reach: Float[np.ndarray, "nodes"],
    rank: Float[np.ndarray, "nodes"],
    most: int,
    radii: Float[np.ndarray, "nodes"] | None = None,
    size: float = 7,
) -> int:
    """Write up to `most` names, those of the highest `rank` first.

    Args:
        ax: Axes whose limits are settled.
        names: One text for each node; an empty one is not written.
        places: Middle of each node in data coordinates.
        reach: Radius of each node in points, to be kept free.
        rank: Which nodes come first.
        most: How many names to try.
        radii: Radius of each node in data coordinates, if its name is to keep to its edge when the picture
            is enlarged; otherwise names keep their distance in points.
        size: Font size in points.

    Returns:
        How many were written.
    """
    from matplotlib.patheffects import withStroke

    ax.apply_aspect()
    points = ax.transData.transform(places) * (72 / ax.figure.dpi) if len(places) else places
    texts = [shorten(name) for name in names]
    order = [i for i in np.argsort(-rank, kind="stable").tolist() if texts[i]][:most]
    halves = {i: 0.5 * _extent(texts[i], size) for i in order}
    spots = find_room(points, reach, halves)
    for node, spot in sorted(spots.items()):
        edge = places[node] + (0.0 if radii is None else spot * radii[node])
        away = spot * (halves[node] + 1 + (reach[node] if radii is None else 0.0))
        ax.annotate(
            texts[node],
            tuple(edge),
            tuple(away),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=INK,
            zorder=4,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    return len(spots)


def find_room(
    points: Float[np.ndarray, "nodes 2"], reach: Float[np.ndarray, "nodes"], halves: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Where texts go so that none covers another or a node; those that find no room are left out.

    Args:
        points: Middle of each node.
        reach: Radius of each node, in the same unit.
        halves: Half the width and height of the text of a node, those first that have the first choice.

    Returns:
        For a node the direction `[2]` of its text: the text's middle is at
        `points + direction * (half + reach + 1)`.
    """
    nodes = np.concatenate([points - reach[:, None], points + reach[:, None]], axis=1)
    taken, spots = np.empty((0, 4)), dict[int, np.ndarray]()
    for node, half in halves.items():
        others = np.delete(nodes, node, axis=0)
        for spot in map(np.array, _SPOTS):
            middle = points[node] + spot * (half + reach[node] + 1)
            box = np.concatenate([middle - half, middle + half])
            if not _meets(box, taken) and not _meets(box, others):
                taken, spots[node] = np.vstack([taken, box]), spot
                break
    return spots


def _extent(text: str, size: float) -> np.ndarray:
    """Width and height of a text in points, with a little air."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    with warnings.catch_warnings():
        # A letter that the font lacks is said when it is drawn.
        warnings.simplefilter("ignore")
        width, *_ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return np.array([width + 3, 1.25 * size])


def _meets(box: np.ndarray, others: np.ndarray) -> bool:
    """Whether a box `(left, bottom, right, top)` overlaps any of `others` `[n, 4]`."""
    return bool(((box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])).all(1).any())

"""Communities in a picture: discs whose area is their size, as pies of their tokens' labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from structformer.graph.colours import PALETTE, UNKNOWN, Colouring, shorten
from structformer.graph.selection import Selection
from structformer.graph.structure import hubs
from structformer.graph.texts import write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from structformer.graph import TokenGraph


def shares(shown: Selection, colours: Colouring) -> Float[np.ndarray, "nodes classes_and_unknown"]:
    """Share of each class among each community's tokens; the last column is unknown."""
    counts = np.zeros((len(shown.sizes), len(colours.classes) + 1))
    np.add.at(counts, (shown.node[shown.tokens], colours.codes[shown.tokens]), 1)
    return counts / shown.sizes[:, None]


def means(shown: Selection, colours: Colouring) -> Float[np.ndarray, "nodes"]:
    """Mean label of each community, NaN where none is known."""
    values = np.zeros(0) if colours.values is None else colours.values[shown.tokens]
    known = np.isfinite(values)
    node, count = shown.node[shown.tokens][known], len(shown.sizes)
    number = np.bincount(node, minlength=count)
    total = np.bincount(node, values[known], count)
    return np.divide(total, number, out=np.full(count, np.nan), where=number > 0)


def legend_of(graph: "TokenGraph", colours: Colouring) -> str:
    """What the captions say."""
    what = ""
    if colours.values is not None:
        what = "mean label · "
    elif colours.labelled:
        what = "commonest label and its share · "
    elif (graph.source_names if graph.is_bipartite else graph.names) is not None:
        what = "token listened to most · "
    return f"beside each: {what}number of tokens"


def captions(graph: "TokenGraph", shown: Selection, colours: Colouring) -> list[str]:
    """What to write beside each community: what most of its tokens are, or around which it gathers; its size."""
    count = len(shown.sizes)
    first = [""] * count
    if colours.values is not None:
        first = ["" if np.isnan(mean) else f"mean {mean:.3g}" for mean in means(shown, colours)]
    elif colours.labelled:
        known = shares(shown, colours)[:, :-1]
        best = known.argmax(1)
        first = [
            f"{shorten(colours.classes[code], 16)}: {known[i, code]:.0%}"
            if known[i, code] > 0
            else "unlabelled"
            for i, code in enumerate(best.tolist())
        ]
    elif (graph.source_names if graph.is_bipartite else graph.names) is not None:
        offset = graph.num_targets if graph.is_bipartite else 0
        ranked = hubs(graph, None)
        for token, name in zip(ranked.index.tolist(), ranked["name"].tolist(), strict=True):
            node = int(shown.node[token + offset])
            if node >= 0 and not first[node]:
                first[node] = f"around {shorten(name, 16)}"
    return [
        f"{words} · {size:,}" if words else f"{size:,}"
        for words, size in zip(first, shown.sizes, strict=True)
    ]


def draw_discs(
    ax: "Axes",
    shown: Selection,
    colours: Colouring,
    places: Float[np.ndarray, "nodes 2"],
    radii: Float[np.ndarray, "nodes"],
) -> None:
    """Draw each community as a pie of its labels, or in the colour of their mean."""
    from matplotlib import colormaps
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle, Wedge

    white: dict[str, Any] = {"edgecolors": "white", "zorder": 2}
    discs = [Circle(tuple(place), radius) for place, radius in zip(places, radii, strict=True)]
    if colours.values is not None:
        share = colours.share(means(shown, colours))
        fill = [UNKNOWN if np.isnan(value) else colormaps["cividis"](value) for value in share]
        ax.add_collection(PatchCollection(discs, facecolors=fill, linewidths=1.0, **white))
    elif not colours.labelled:
        ax.add_collection(PatchCollection(discs, facecolors=PALETTE[0], linewidths=1.0, **white))
    else:
        pie = colours.commonest()
        turns = np.cumsum(shares(shown, pie), axis=1)
        starts = np.hstack([np.zeros((len(turns), 1)), turns[:, :-1]])
        for code in range(turns.shape[1]):
            here = np.flatnonzero(turns[:, code] > starts[:, code])
            # Clockwise from the top, as a clock is read.
            wedges = [
                Wedge(tuple(places[i]), radii[i], 90 - 360 * turns[i, code], 90 - 360 * starts[i, code])
                for i in here.tolist()
            ]
            color = [*pie.palette(), UNKNOWN][code]
            ax.add_collection(PatchCollection(wedges, facecolors=color, linewidths=0.5, **white))


def write_captions(
    ax: "Axes",
    texts: Sequence[str],
    shown: Selection,
    places: Float[np.ndarray, "nodes 2"],
    radii: Float[np.ndarray, "nodes"],
    most: int,
) -> None:
    """Write a text beside each community, those of the largest first."""
    ax.apply_aspect()
    ends = ax.transData.transform([(0, 0), (1, 0)])
    scale = float(ends[1, 0] - ends[0, 0]) * 72 / ax.figure.dpi
    write_names(ax, texts, places, radii * scale, shown.sizes.astype(float), most, radii)

"""The picture of a TokenGraph: light, colour-blind safe, readable without settings.

matplotlib is imported only when something is drawn.
"""

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from structformer.graph_stats import as_array, label_codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from structformer.graph import TokenGraph

# Okabe and Ito's palette (2008), told apart with every common colour vision deficiency; black,
# the eighth, is left to text. Beyond seven classes the marker changes too.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = "osD^vP"
UNKNOWN = "#B8BCC2"
INK = "#30343B"
EDGE = (0.28, 0.33, 0.40)
MAX_NAMED = 60
EDGES_PER_TOKEN = 6


def _undirected(graph: "TokenGraph") -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs `[p, 2]` that any edge joins, the greater of the two weights of each `[p]`, and the node count.

    Sources of a bipartite graph are nodes of their own, numbered after the targets.
    """
    offset = graph.num_targets if graph.is_bipartite else 0
    nodes = offset + graph.num_sources
    ends = np.stack([graph.row.cpu().numpy(), graph.col.cpu().numpy() + offset])
    weight = graph.mean_weight().detach().double().cpu().numpy()
    low, high = ends.min(0), ends.max(0)
    apart = low != high
    key, slot = np.unique(low[apart] * nodes + high[apart], return_inverse=True)
    strongest = np.full(len(key), -np.inf)
    np.maximum.at(strongest, slot, weight[apart])
    return np.stack([key // max(nodes, 1), key % max(nodes, 1)], axis=1), strongest, nodes


def _layout(pairs: np.ndarray, weight: np.ndarray, nodes: int, seed: int) -> np.ndarray:
    """Positions `[nodes, 2]`: each connected part laid out by itself, the parts packed side by side."""
    drawing = nx.Graph()
    drawing.add_nodes_from(range(nodes))
    strongest = weight.max() if len(weight) and weight.max() > 0 else 1.0
    for (a, b), value in zip(pairs.tolist(), weight.tolist(), strict=True):
        drawing.add_edge(a, b, weight=max(value / strongest, 0.02) ** 0.5)
    places = np.zeros((nodes, 2))
    parts = sorted(nx.connected_components(drawing), key=lambda part: (-len(part), min(part)))
    members = [sorted(part) for part in parts]
    centers = _pack([_radius(len(part)) for part in members])
    for part, center in zip(members, centers, strict=True):
        places[part] = center + _part_layout(drawing.subgraph(part), part, seed)
    return places


def _radius(size: int) -> float:
    """A part gets area in proportion to its nodes, so that density is even over the picture."""
    return size**0.5


def _part_layout(part: nx.Graph, nodes: list[int], seed: int) -> np.ndarray:
    """Positions of one connected part around the origin, its longest axis horizontal."""
    if len(nodes) == 1:
        return np.zeros((1, 2))
    # Kamada-Kawai spreads small graphs best; it needs all distances, so not large ones.
    if len(nodes) <= 100:
        places: dict[int, Any] = nx.kamada_kawai_layout(part, weight=None)
    else:
        places = nx.spring_layout(part, seed=seed, k=1.6 / len(nodes) ** 0.5, iterations=120)
    xy = np.array([places[node] for node in nodes])
    xy -= xy.mean(0)
    axes = np.linalg.svd(xy, full_matrices=False)[2]
    # The sign of an axis is arbitrary: fixed, so that the same graph gives the same picture.
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]
    xy = xy @ axes.T
    return xy * (_radius(len(nodes)) * 0.85 / max(np.linalg.norm(xy, axis=1).max(), 1e-9))


def _pack(radii: list[float]) -> np.ndarray:
    """Centres `[n, 2]` of discs that do not overlap, the first in the middle, wider than high."""
    centers = np.zeros((len(radii), 2))
    sizes = np.array(radii)
    turn = 0.0
    for i in range(1, len(radii)):
        # Out along a spiral until the disc touches none of those placed; where discs of the same
        # size found no room there is none.
        if sizes[i] != sizes[i - 1]:
            turn = 0.0
        while True:
            reach = 0.12 * sizes[i] * turn
            spot = reach * np.array([1.35 * np.cos(turn), np.sin(turn)])
            if (np.linalg.norm(centers[:i] - spot, axis=1) >= sizes[:i] + sizes[i]).all():
                break
            turn += 0.35
        centers[i] = spot
    return centers


def _choose(
    pairs: np.ndarray, weight: np.ndarray, nodes: int, threshold: float | None, max_nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """The nodes drawn, the pairs among them by place in that list, their weights, and what is left out."""
    kept = np.arange(nodes)
    notes: list[str] = []
    if nodes > max_nodes:
        degree = np.bincount(pairs[:, 0], weight, nodes) + np.bincount(pairs[:, 1], weight, nodes)
        kept = np.sort(np.argsort(-degree, kind="stable")[:max_nodes])
        place = np.full(nodes, -1)
        place[kept] = np.arange(max_nodes)
        pairs = place[pairs]
        inside = (pairs >= 0).all(1)
        pairs, weight = pairs[inside], weight[inside]
        notes.append(f"the {max_nodes} best-connected of {nodes:,} tokens")
    total, most = len(pairs), EDGES_PER_TOKEN * len(kept)
    if threshold is not None:
        strong = weight >= threshold
    elif total > most:
        strong = np.sort(np.argsort(-weight, kind="stable")[:most])
    else:
        return kept, pairs, weight, notes
    pairs, weight = pairs[strong], weight[strong]
    if len(pairs) < total:
        notes.append(f"the {len(pairs):,} strongest of {total:,} edges")
    return kept, pairs, weight, notes


def draw(
    graph: "TokenGraph", ax: "Axes | None", labels: Any, threshold: float | None, max_nodes: int, seed: int
) -> "Axes":
    """See `TokenGraph.plot`."""
    if max_nodes < 1:
        raise ValueError(f"max_nodes must be at least 1 (got {max_nodes})")
    kept, pairs, weight, notes = _choose(*_undirected(graph), threshold, max_nodes)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(8, 6.5), layout="constrained")[1]
    ax.set_facecolor("white")
    ax.set_axis_off()
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.06)
    if notes:
        ax.set_title("Shown: " + ", ".join(notes), fontsize=9, color=INK)
    places = _layout(pairs, weight, len(kept), seed)
    if len(pairs):
        _draw_edges(ax, places[pairs], weight)
    _draw_nodes(ax, graph, labels, kept, places)
    return ax


def _draw_edges(ax: "Axes", ends: np.ndarray, weight: np.ndarray) -> None:
    """Lines between `ends` `[p, 2, 2]`, the stronger ones darker, wider and on top."""
    from matplotlib.collections import LineCollection

    span = weight.max() - weight.min()
    # A graph of equal weights is drawn evenly, at a middle strength.
    share = (weight - weight.min()) / span if span > 0 else np.full(len(weight), 0.5)
    order = np.argsort(share, kind="stable")
    share = share[order]
    crowd = min(1.0, (150 / len(weight)) ** 0.25)
    colors = np.column_stack([np.tile(EDGE, (len(weight), 1)), (0.2 + 0.6 * share) * crowd])
    ax.add_collection(
        LineCollection(list(ends[order]), colors=colors, linewidths=0.5 + 1.3 * share, zorder=1)
    )


def _draw_nodes(ax: "Axes", graph: "TokenGraph", labels: Any, kept: np.ndarray, places: np.ndarray) -> None:
    """Nodes coloured by label, with a legend, and names where there is room for them."""
    from matplotlib.patheffects import withStroke

    nodes = graph.num_targets + (graph.num_sources if graph.is_bipartite else 0)
    own = graph.labels if labels is None else labels
    labelled: list[Any] = [None] * nodes
    if own is not None:
        label_codes(own, graph.num_targets)
        labelled[: graph.num_targets] = as_array(own).tolist()
    if graph.is_bipartite and graph.source_labels is not None:
        labelled[graph.num_targets :] = as_array(graph.source_labels).tolist()
    codes, classes = label_codes(labelled, nodes)
    codes = codes[kept]
    size = float(np.clip(9000 / max(len(kept), 1), 22, 190))
    # The sources of a bipartite graph are smaller.
    sizes = np.where(graph.is_bipartite & (kept >= graph.num_targets), 0.45 * size, size)
    outline: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8, "zorder": 2}
    halo = [withStroke(linewidth=2, foreground="white")]
    numbers = classes and all(isinstance(value, float) for value in classes)
    if numbers and len(classes) > len(PALETTE):
        known = codes >= 0
        values = [classes[code] for code in codes[known]]
        ax.scatter(*places[~known].T, s=sizes[~known], c=UNKNOWN, **outline)
        points = ax.scatter(*places[known].T, s=sizes[known], c=values, cmap="cividis", **outline)
        ax.figure.colorbar(points, ax=ax, shrink=0.5, label="label")
    else:
        for code in np.unique(codes):
            here = codes == code
            color = UNKNOWN if code < 0 else PALETTE[code % len(PALETTE)]
            if code < 0 and not classes:
                color = PALETTE[0]
            marker = "o" if code < 0 else MARKERS[code // len(PALETTE) % len(MARKERS)]
            name = "unlabelled" if code < 0 else str(classes[code])
            ax.scatter(*places[here].T, s=sizes[here], c=color, marker=marker, label=name, **outline)
        if 0 < len(classes) <= len(PALETTE) * len(MARKERS):
            ax.legend(fontsize=8, frameon=False, labelcolor=INK, markerscale=(40 / size) ** 0.5)
    names = graph.names
    if graph.is_bipartite:
        names = None if names is None or graph.source_names is None else [*names, *graph.source_names]
    if names is not None and len(kept) <= MAX_NAMED:
        for node, (x, y), area in zip(kept, places, sizes, strict=True):
            ax.annotate(
                names[node],
                (x, y),
                (0, area**0.5 / 2 + 1),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=7,
                color=INK,
                zorder=3,
                path_effects=halo,
            )

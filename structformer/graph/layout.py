"""Where the nodes of a picture go: connected parts laid out one by one, then packed side by side."""

from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float, Int


def layout(
    pairs: Int[np.ndarray, "pairs 2"],
    weight: Float[np.ndarray, "pairs"],
    nodes: int,
    seed: int = 0,
    radii: Float[np.ndarray, "nodes"] | None = None,
) -> Float[np.ndarray, "nodes 2"]:
    """Place nodes so that those joined are near, the stronger the nearer, and parts that nothing joins side by side.

    Args:
        pairs: Nodes that an edge joins, each pair once.
        weight: How strong each edge is.
        nodes: Number of nodes.
        seed: Seed of the starting places of large parts; the same seed gives the same places.
        radii: Radius of each node's disc; discs will not overlap. None for points.
    """
    drawing = nx.Graph()
    drawing.add_nodes_from(range(nodes))
    strongest = weight.max() if len(weight) and weight.max() > 0 else 1.0
    for (a, b), value in zip(pairs.tolist(), weight.tolist(), strict=True):
        share = value / strongest
        # At most three times as far away: else nodes that are joined strongly would cover each other.
        drawing.add_edge(a, b, pull=max(share, 0.02) ** 0.5, away=max(share, 0.1) ** -0.5)
    parts = [sorted(part) for part in nx.connected_components(drawing)]
    placed = [
        _part(drawing.subgraph(part), part, seed, None if radii is None else radii[part]) for part in parts
    ]
    reach = [
        _reach(xy, None if radii is None else radii[part]) for xy, part in zip(placed, parts, strict=True)
    ]
    order = sorted(range(len(parts)), key=lambda i: (-reach[i], parts[i][0]))
    places = np.zeros((nodes, 2))
    for i, center in zip(order, _pack([reach[i] for i in order]), strict=True):
        places[parts[i]] = center + placed[i]
    return places


def _reach(xy: np.ndarray, radii: np.ndarray | None) -> float:
    """Radius of the disc that a part gets: for points its area is in proportion to their number."""
    if radii is None:
        return len(xy) ** 0.5
    return float((np.linalg.norm(xy, axis=1) + radii).max()) + 0.15 * float(radii.max())


def _part(part: nx.Graph, nodes: list[int], seed: int, radii: np.ndarray | None) -> np.ndarray:
    """Positions of one connected part around the origin, its longest axis horizontal."""
    if len(nodes) == 1:
        return np.zeros((1, 2))
    # Kamada-Kawai spreads small graphs best; it needs all distances, so not large ones.
    if len(nodes) <= 100:
        places: dict[int, Any] = nx.kamada_kawai_layout(part, weight="away")
    else:
        places = nx.spring_layout(part, weight="pull", seed=seed, k=1.6 / len(nodes) ** 0.5, iterations=120)
    xy = np.array([places[node] for node in nodes])
    xy -= xy.mean(0)
    axes = np.linalg.svd(xy, full_matrices=False)[2]
    # The sign of an axis is arbitrary: fixed, so that the same graph gives the same picture.
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]
    xy = xy @ axes.T
    wide = max(float(np.linalg.norm(xy, axis=1).max()), 1e-9)
    if radii is None:
        return xy * (len(nodes) ** 0.5 * 0.85 / wide)
    return _apart(xy * (2.2 * float((radii**2).sum()) ** 0.5 / wide), radii)


def _apart(xy: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Push discs apart until none touches another; for the few tens of discs of a picture."""
    room = radii[:, None] + radii[None] + 0.9 * np.median(radii)
    np.fill_diagonal(room, 0.0)
    for _ in range(400):
        apart = xy[:, None] - xy[None]
        distance = np.linalg.norm(apart, axis=2)
        lack = np.maximum(room - distance, 0.0)
        if not lack.any():
            break
        # Discs in the same place have no direction of their own.
        same = np.triu(distance < 1e-9, 1)
        apart[same], distance[same] = (1.0, 0.0), 1.0
        apart[same.T], distance[same.T] = (-1.0, 0.0), 1.0
        np.fill_diagonal(distance, 1.0)
        xy = xy + (0.5 * (lack / distance)[:, :, None] * apart).sum(1)
    return xy - xy.mean(0)


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

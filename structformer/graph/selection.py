"""What of a graph a picture shows: all its tokens, its best connected ones, or its communities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from structformer.graph.structure import between, partition

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

Large = Literal["communities", "hubs"]
MOST_COMMUNITIES = 40
EDGES_PER_NODE = 6


@dataclass(frozen=True)
class Edges:
    """Lines of a picture: pairs of its nodes, each once, and how strong each is."""

    pairs: Int[np.ndarray, "pairs 2"]
    weight: Float[np.ndarray, "pairs"]


@dataclass(frozen=True)
class Selection:
    """What is drawn of a graph.

    Attributes:
        node: `[tokens]` the drawn node that stands for each token, −1 for none. Sources of a bipartite
            graph follow its targets.
        sizes: `[nodes]` tokens that each drawn node stands for.
        steps: The lines of each step.
        union: The lines of all steps together, for the layout.
        grouped: Whether nodes are communities.
        notes: What is left out, in words.
    """

    node: Int[np.ndarray, "tokens"]
    sizes: Int[np.ndarray, "nodes"]
    steps: tuple[Edges, ...]
    union: Edges
    grouped: bool
    notes: tuple[str, ...]

    @property
    def tokens(self) -> Int[np.ndarray, "drawn"]:
        """The tokens that are drawn or stood for, ascending."""
        return np.flatnonzero(self.node >= 0)


def select(
    steps: Sequence["TokenGraph"],
    threshold: float | None,
    max_nodes: int,
    large: Large = "communities",
    seed: int = 0,
) -> Selection:
    """Choose what of a graph's steps to draw. See `TokenGraph.plot`.

    Raises:
        ValueError: If `max_nodes` is less than 1 or `large` is unknown.
    """
    if max_nodes < 1:
        raise ValueError(f"max_nodes must be at least 1 (got {max_nodes})")
    if large not in ("communities", "hubs"):
        raise ValueError(f'large must be "communities" or "hubs" (got {large!r})')
    matrices = [_one_way(step) for step in steps]
    count = _size(steps[0])
    grouped = count > max_nodes and large == "communities"
    notes: list[str] = []
    node = np.arange(count)
    if grouped:
        node, note = _communities(matrices, min(max_nodes, MOST_COMMUNITIES), seed)
        notes.append(note)
    elif count > max_nodes:
        node = _best_connected(matrices, count, max_nodes)
        notes.append(f"the {max_nodes} best-connected of {count:,} tokens")
    sizes = np.bincount(node[node >= 0], minlength=0)
    kept: list[Edges] = []
    for matrix in matrices:
        edges, note = _strong(_lines(matrix, node, grouped), threshold, len(sizes))
        kept.append(edges)
        if note and len(matrices) == 1:
            notes.append(note.replace("edges", "links") if grouped else note)
    return Selection(node, sizes, tuple(kept), _union(kept, len(sizes)), grouped, tuple(notes))


def _one_way(graph: "TokenGraph") -> sp.coo_matrix:
    """`[tokens, tokens]` mean weights, a bipartite graph's sources numbered after its targets."""
    weight = between(graph).tocoo()
    offset = graph.num_targets if graph.is_bipartite else 0
    shape = (_size(graph), _size(graph))
    return sp.coo_matrix((weight.data, (weight.row, weight.col + offset)), shape=shape)


def _size(graph: "TokenGraph") -> int:
    """Number of tokens, of both sides if they are different ones."""
    return graph.num_sources + (graph.num_targets if graph.is_bipartite else 0)


def _communities(matrices: list[sp.coo_matrix], most: int, seed: int) -> tuple[np.ndarray, str]:
    """The community of each token, −1 for those too small to draw, and what to say of it."""
    total = sp.csr_matrix(sum(matrix.tocsr() for matrix in matrices))
    found = partition(sp.csr_matrix(total + total.T), seed=seed)
    # Tokens that no edge joins to another are no communities, unless there is nothing else.
    count = int((np.bincount(found) > 1).sum()) or int(found.max()) + 1
    node = np.where(found < min(count, most), found, -1)
    drawn, tokens = int((node >= 0).sum()), f"{len(node):,} tokens"
    communities = f"{count:,} communit{'y' if count == 1 else 'ies'}"
    if count > most:
        communities = f"the {most} largest of {communities}"
    return node, f"{communities} of {tokens}" if drawn == len(
        node
    ) else f"{communities}, {drawn:,} of {tokens}"


def _best_connected(matrices: list[sp.coo_matrix], count: int, most: int) -> np.ndarray:
    degree = sum(
        np.bincount(ends, matrix.data, count) for matrix in matrices for ends in (matrix.row, matrix.col)
    )
    node = np.full(count, -1)
    node[np.sort(np.argsort(-np.asarray(degree), kind="stable")[:most])] = np.arange(most)
    return node


def _lines(matrix: sp.coo_matrix, node: np.ndarray, grouped: bool) -> Edges:
    """Pairs of drawn nodes; between tokens the greater weight of both directions, between groups the sum of all."""
    ends = np.stack([node[matrix.row], node[matrix.col]])
    low, high = ends.min(0), ends.max(0)
    drawn = (low >= 0) & (low != high)
    base = int(node.max(initial=0)) + 1
    key, slot = np.unique(low[drawn] * base + high[drawn], return_inverse=True)
    if grouped:
        # Of nothing numpy makes integers.
        weight = np.bincount(slot, matrix.data[drawn], len(key)).astype(np.float64, copy=False)
    else:
        weight = np.full(len(key), -np.inf)
        np.maximum.at(weight, slot, matrix.data[drawn])
    return Edges(np.stack([key // base, key % base], axis=1), weight)


def _strong(edges: Edges, threshold: float | None, nodes: int) -> tuple[Edges, str]:
    """The edges strong enough to be drawn, and what to say of it."""
    total, most = len(edges.pairs), EDGES_PER_NODE * nodes
    note = ""
    if threshold is not None:
        strong = np.flatnonzero(edges.weight >= threshold)
    else:
        ranked = np.argsort(-edges.weight, kind="stable")
        # A node whose edges are all weak keeps one: it would seem to be joined to nothing.
        own = ranked[np.unique(edges.pairs[ranked], return_index=True)[1] // 2]
        strong = np.union1d(ranked[:most], own)
        note = " and each node's strongest" if len(strong) > most else ""
    shown = len(strong) if threshold is not None else min(len(strong), most)
    note = f"the {shown:,} strongest of {total:,} edges{note}" if len(strong) < total else ""
    return Edges(edges.pairs[strong], edges.weight[strong]), note


def _union(steps: list[Edges], nodes: int) -> Edges:
    """All pairs of all steps, each with its greatest weight."""
    if len(steps) == 1:
        return steps[0]
    pairs = np.concatenate([edges.pairs for edges in steps])
    weight = np.concatenate([edges.weight for edges in steps])
    key, slot = np.unique(pairs[:, 0] * max(nodes, 1) + pairs[:, 1], return_inverse=True)
    greatest = np.full(len(key), -np.inf)
    np.maximum.at(greatest, slot, weight)
    return Edges(np.stack([key // max(nodes, 1), key % max(nodes, 1)], axis=1), greatest)

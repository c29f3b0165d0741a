"""Rows taken in an order in which those that listen to the same tokens come one after the other.

Sparse attention gathers vectors from all over a large set, and beyond the cache each costs a trip to main memory.
Most graphs, learned ones above all, hang together in clusters: in an order that follows them, gathers hit the cache.
Nothing is moved for it but the indices of the graph, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.segment import segment_max

# Measured: with fewer tokens the order gains nothing, as vectors are asked for before they are needed.
SMALLEST = 262_144
# Tokens whose turns are so close count as neighbours; so much larger must the share of such edges become.
NEAR, GAIN = 4_096, 0.2
# Steps along the graph that leaders are heard; edges by which an order is judged.
_STEPS, _SAMPLE = 4, 1 << 16


@dataclass(frozen=True)
class Arrangement:
    """A graph's rows in another order, tokens and edges keeping their numbers; indices as in `compact`.

    Attributes:
        order: `[tokens]` the token that has its turn.
        start: `[tokens]` its first edge in the graph.
        rowptr: `[tokens + 1]` where the sources of each turn begin in `col`.
        col: `[edges]` the sources; a row keeps the order of its edges, and so of the terms of its sums.
    """

    order: Int[Tensor, "tokens"]
    start: Int[Tensor, "tokens"]
    rowptr: Int[Tensor, "pointers"]
    col: Int[Tensor, "edges"]

    def transpose(
        self, graph: TokenGraph
    ) -> tuple[Int[Tensor, "pointers"], Int[Tensor, "edges"], Int[Tensor, "edges"]]:
        """Return `compact_transpose` of the graph with columns in the order of turns; computed once."""

        def arranged() -> tuple[Tensor, Tensor, Tensor]:
            rowptr_t, row_t, perm = graph.compact_transpose
            rowptr, edge = _in_order(rowptr_t, self.order)
            return rowptr, row_t[edge], perm[edge]

        return graph.once("arranged transpose", arranged)


def arrangement(graph: TokenGraph) -> Arrangement | None:
    """Return a better order of a graph's rows, computed once; None where nothing is to be gained.

    None for a small or bipartite graph, for one in a good order already, and for one without clusters.
    """
    if graph.num_targets != graph.num_sources or graph.num_targets < SMALLEST or not graph.num_edges:
        return None
    return graph.once("arrangement", lambda: _arranged(graph))


def cluster_order(graph: TokenGraph) -> Int[Tensor, "tokens"]:
    """Return an order of the tokens of a square graph in which those near each other along edges are close.

    Every token gets a random number and then, step by step, the largest number among itself and its sources: that
    of a leader up to so many steps away. Tokens are sorted by their farthest leader, then by nearer ones. It takes
    O(edges), and always gives the same order for the same graph.
    """
    tokens = graph.num_targets
    generator = torch.Generator().manual_seed(0)
    # Above zero, which stands for a row without edges; exact in single precision below 2^24, near enough above.
    leader = (1 + torch.randperm(tokens, generator=generator)).to(graph.col.device, torch.float32)
    order = leader.argsort(stable=True)
    for _ in range(_STEPS):
        leader = torch.maximum(leader, segment_max(leader[graph.col], graph.rowptr))
        order = order[leader[order].argsort(stable=True)]
    return order


def nearness(graph: TokenGraph, place: Int[Tensor, "tokens"] | None = None) -> float:
    """Return the share of edges whose ends have turns less than `NEAR` apart, from an even sample of edges.

    Args:
        graph: A square graph.
        place: When each token has its turn; None is the graph's own order.
    """
    some = torch.arange(0, graph.num_edges, max(1, graph.num_edges // _SAMPLE), device=graph.col.device)
    ends = graph.row[some], graph.col[some]
    row, col = ends if place is None else (place[end] for end in ends)
    return float(((row - col).abs() < NEAR).double().mean())


def _arranged(graph: TokenGraph) -> Arrangement | None:
    before = nearness(graph)
    if before + GAIN > 1:
        return None
    order = cluster_order(graph)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    if nearness(graph, place) < before + GAIN:
        return None
    rowptr, edge = _in_order(graph.compact[0], order)
    return Arrangement(order, graph.rowptr[order].long(), rowptr, graph.compact[1][edge])


def _in_order(
    rowptr: Int[Tensor, "pointers"], order: Int[Tensor, "rows"]
) -> tuple[Int[Tensor, "pointers"], Int[Tensor, "edges"]]:
    """Return where each row begins once rows stand in this order, and the edge at each place."""
    degree = rowptr.diff()[order]
    begin = torch.cat([degree.new_zeros(1), degree.cumsum(0, dtype=degree.dtype)])
    edges = int(begin[-1])
    # The edges of a row stand side by side before and after: only where they begin has changed.
    shift = torch.repeat_interleave(rowptr[order] - begin[:-1], degree, output_size=edges)
    return begin, torch.arange(edges, device=order.device, dtype=shift.dtype) + shift

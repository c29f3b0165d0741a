"""Tokens reordered so that those which listen to each other lie side by side in memory.

Sparse attention gathers vectors from all over a large set, and beyond the cache each costs a trip to main memory.
Most graphs, learned ones above all, hang together in clusters: in an order that follows them, gathers hit the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.huge_pages import picked
from structformer.ops.segment import segment_max

# Measured: with fewer tokens the order gains nothing, as vectors are asked for before they are needed.
SMALLEST = 262_144
# Tokens so close in memory count as neighbours; so much larger must the share of such edges become.
NEAR, GAIN = 4_096, 0.2
# Steps along the graph that leaders are heard; edges by which an order is judged.
_STEPS, _SAMPLE = 4, 1 << 16


@dataclass(frozen=True)
class Arrangement:
    """A graph and the order that its tokens were given.

    Attributes:
        order: `[tokens]` the token at each place.
        place: `[tokens]` the place of each token.
        edge: `[edges]` the edge, as it was, at each position of the arranged graph.
        position: `[edges]` the position of each edge.
        graph: The pattern over places; a row keeps the order of its edges, and so of the terms of its sums.
    """

    order: Int[Tensor, "tokens"]
    place: Int[Tensor, "tokens"]
    edge: Int[Tensor, "edges"]
    position: Int[Tensor, "edges"]
    graph: TokenGraph

    def tokens(self, x: Float[Tensor, "tokens *rest"]) -> Float[Tensor, "tokens *rest"]:
        """Bring tokens to their places."""
        return _Reordered.apply(x, self.order, self.place)

    def tokens_back(self, x: Float[Tensor, "tokens *rest"]) -> Float[Tensor, "tokens *rest"]:
        """Bring tokens back to where they came from."""
        return _Reordered.apply(x, self.place, self.order)

    def edges(self, x: Float[Tensor, "edges *rest"]) -> Float[Tensor, "edges *rest"]:
        """Bring values of edges to their positions."""
        return _Reordered.apply(x, self.edge, self.position)

    def edges_back(self, x: Float[Tensor, "edges *rest"]) -> Float[Tensor, "edges *rest"]:
        """Bring values of edges back to the graph's own order."""
        return _Reordered.apply(x, self.position, self.edge)


def arrangement(graph: TokenGraph) -> Arrangement | None:
    """Return a better order of a graph's tokens, computed once; None where nothing is to be gained.

    None for a small or bipartite graph, for one whose tokens lie well already, and for one without clusters.
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
    """Return the share of edges whose ends lie less than `NEAR` places apart, from an even sample of edges.

    Args:
        graph: A square graph.
        place: Where each token lies; None is the graph's own order.
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
    place = _inverse(order)
    if nearness(graph, place) < before + GAIN:
        return None
    degree = graph.degree()[order]
    rowptr = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    # The edges of a row stand side by side before and after: only where they begin has changed.
    shift = torch.repeat_interleave(graph.rowptr[order] - rowptr[:-1], degree, output_size=graph.num_edges)
    edge = torch.arange(graph.num_edges, device=order.device) + shift
    arranged = TokenGraph(rowptr, place[graph.col[edge]], num_sources=graph.num_sources)
    return Arrangement(order, place, edge, _inverse(edge), arranged)


def _inverse(order: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


class _Reordered(torch.autograd.Function):
    """Pick by a permutation; its derivative picks by the inverse, where indexing would have to add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return picked(x, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Reordered.apply(grads[0].contiguous(), inverse, order), None, None

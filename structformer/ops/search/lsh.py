"""Approximate search by random hashing, refined along the graph found; from a known graph, warm."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.search.best import Best, row_blocks
from structformer.ops.search.cells import offer_cells
from structformer.ops.search.descent import descend, score
from structformer.ops.search.hashing import Buckets, embed
from structformer.ops.search.parts import Parts, spread

# Hashes, buckets that a target looks into in each, and rounds along the graph.
HASHES, PROBES, ROUNDS = 2, 3, 3
WARM_HASHES, WARM_PROBES, WARM_ROUNDS = 1, 1, 1


def lsh(
    parts: Parts, start: TokenGraph | None, rounds: int | None, generator: torch.Generator
) -> Int[Tensor, "rows k"]:
    """Return sources for every target of all parts, one part after the other.

    The result depends on the order of tokens through ties alone. Memory is bounded by blocks, apart from
    the best sources of every target.

    Args:
        parts: What is searched.
        start: A graph of nearly the same vectors, whose edges are the first candidates. Far fewer cells of
            the hash are then looked into, enough to find what has moved away from its old neighbours.
        rounds: Rounds along the graph; None takes as many as are usual.
        generator: Where the random rotations come from.

    Returns:
        Sources in any order; `num_sources` where fewer than k were found.
    """
    target = parts.targets()
    best = Best(len(target), parts.k, len(parts.key), target.device)
    hashes, probes, usual = HASHES, PROBES, ROUNDS
    if start is not None:
        hashes, probes, usual = WARM_HASHES, WARM_PROBES, WARM_ROUNDS
        _offer_edges(parts, target, best, start)
    source = spread(parts.cols)
    query, key = embed(parts, source)
    for _ in range(hashes):
        offer_cells(parts, target, Buckets(parts, source, query, key, generator), best, probes)
    for _ in range(usual if rounds is None else rounds):
        descend(parts, target, best)
    return best.sources()


def _offer_edges(parts: Parts, target: Tensor, best: Best, start: TokenGraph) -> None:
    """Offer every target its sources in the given graph."""
    degree = start.degree()[target]
    width = int(degree.max()) if len(degree) else 0
    place = torch.arange(width, device=target.device)
    for rows in row_blocks(len(target), width):
        at = start.rowptr[target[rows], None] + place
        cols = start.col[at.clamp(max=start.num_edges - 1)]
        gone = (place >= degree[rows, None]) | ~parts.allowed(target[rows, None], cols)
        best.offer_distinct(rows, score(parts, target[rows], cols.masked_fill(gone, len(parts.key))))

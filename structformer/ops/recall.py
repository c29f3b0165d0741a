"""How many of the best sources a graph holds, measured against an exact search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.search.checks import check_edges, check_vectors, tame
from structformer.ops.search.exact import Found, Search
from structformer.ops.search.hits import share_found

# Targets whose edges are held side by side at once.
_ROWS = 4096


@torch.no_grad()
def neighbor_recall(
    graph: TokenGraph,
    query: Float[Tensor, "targets affinity"],
    key: Float[Tensor, "sources affinity"],
    k: int,
    ptr: Int[Tensor, "pointers"] | None = None,
    key_ptr: Int[Tensor, "pointers"] | None = None,
    causal: bool = False,
    exclude_self: bool = False,
    sample: int | None = None,
    generator: torch.Generator | None = None,
) -> float:
    """Return the share of the targets' k best sources that are among the graph's edges.

    Equal weight for every target that has a candidate. A source that scores as high as the last of the
    exact ones counts like it, so that among ties any choice is right.

    Args:
        graph: The graph to judge; its weights play no part.
        query: One vector a target.
        key: One vector a source.
        k: Sources of each target that the graph should hold.
        ptr: Boundaries of the targets' sets; None is one set.
        key_ptr: Boundaries of the sources' sets; None is `ptr`.
        causal: Only sources up to the target itself count.
        exclude_self: The target itself does not count (also right for graphs made with
            `include_self`, which link it in addition to the k others).
        sample: Number of targets to judge by; None is all.
        generator: Where the sample comes from; None is a new one with a fixed seed.

    Returns:
        A number in [0, 1]; nan if no target has a candidate.

    Raises:
        ValueError: If shapes do not fit, k or sample is below 1, a vector is not finite, or an edge joins
            two sets.

    Examples:
        >>> from structformer.ops import neighbors
        >>> tokens = torch.eye(3).repeat(2, 1)
        >>> neighbor_recall(neighbors(tokens, tokens, k=2), tokens, tokens, k=2)
        1.0
    """
    for name, value in (("k", k), ("sample", 1 if sample is None else sample)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 (got {value})")
    ptr, key_ptr = check_vectors(query, key, k, ptr, key_ptr, causal or exclude_self)
    check_edges("graph", graph, ptr, key_ptr)
    query, key = tame("query", query), tame("key", key)
    target = _sample(len(query), sample, generator).to(ptr.device)
    target = target[_has_candidate(target, ptr, key_ptr, exclude_self, causal)]
    if not len(target):
        return float("nan")
    shares: list[Tensor] = []
    for found in _exact(query, key, k, ptr, key_ptr, causal, exclude_self, target):
        for row, exact in zip(found.row.split(_ROWS), found.col.split(_ROWS), strict=True):
            edges = _edges(graph, row, exclude_self, causal)
            shares.append(share_found(query[row], key, edges, exact))
    return float(torch.cat(shares).double().mean())


def _sample(count: int, sample: int | None, generator: torch.Generator | None) -> Tensor:
    if sample is None or sample >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    return torch.randperm(count, generator=generator, device=generator.device)[:sample].sort().values


def _has_candidate(target: Tensor, ptr: Tensor, key_ptr: Tensor, exclude_self: bool, causal: bool) -> Tensor:
    part = torch.searchsorted(ptr, target, right=True) - 1
    first, last = key_ptr[part], key_ptr[part + 1]
    last = torch.minimum(last, target + 1) if causal else last
    return last - first > int(exclude_self)


def _exact(
    query: Tensor,
    key: Tensor,
    k: int,
    ptr: Tensor,
    key_ptr: Tensor,
    causal: bool,
    exclude_self: bool,
    target: Tensor,
) -> Iterator[Found]:
    """Search exactly for some targets, sets of few sources with a smaller k."""
    ends = torch.searchsorted(target, ptr)
    rows, cols = torch.stack([ends[:-1], ends[1:]], dim=1), torch.stack([key_ptr[:-1], key_ptr[1:]], dim=1)
    search = Search(query[target], key, rows, cols, k, causal, exclude_self, False, target)
    candidates = cols.diff()[:, 0] - int(exclude_self)
    for number in candidates.clamp(max=k).unique().tolist():
        some = (candidates.clamp(max=k) == number) & (rows.diff()[:, 0] > 0)
        if number > 0:
            yield from replace(search, rows=rows[some], cols=cols[some], k=number).run()


def _edges(graph: TokenGraph, row: Tensor, exclude_self: bool, causal: bool) -> Tensor:
    """Return the sources of some targets side by side; places without one hold the number of sources."""
    degree = graph.degree()[row]
    place = torch.arange(int(degree.max()), device=row.device)
    at = (graph.rowptr[row, None] + place).clamp(max=max(graph.num_edges - 1, 0))
    cols = graph.col[at] if graph.num_edges else at
    gone = place >= degree[:, None]
    if exclude_self:
        gone |= cols == row[:, None]
    if causal:
        gone |= cols > row[:, None]
    return cols.masked_fill(gone, graph.num_sources)

"""Neighbour search: from vectors to the graph of who listens to whom."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.attention import edge_dot
from structformer.ops.search import TIE_STEPS, Search
from structformer.ops.segment import row_index

METHODS = ("auto", "exact")


@torch.no_grad()
def neighbors(
    query: Float[Tensor, "targets affinity"],
    key: Float[Tensor, "sources affinity"],
    k: int,
    ptr: Int[Tensor, "pointers"] | None = None,
    key_ptr: Int[Tensor, "pointers"] | None = None,
    method: str = "auto",
    causal: bool = False,
    include_self: bool = False,
    exclude_self: bool = False,
    given: TokenGraph | None = None,
) -> TokenGraph:
    """Link every target i to the k sources j of its own set with the largest ⟨query_i, key_j⟩.

    A set with no more than k candidates is linked completely. Nothing of size targets × sources is
    held in memory. In float64, products that agree to about 1e-10 of the largest possible in
    their set count as equal, and given edges, then lower indices, go first, so that the graph of a set does
    not depend on the sets beside it; in lower precision near ties may fall either way.

    Args:
        query: One vector a target.
        key: One vector a source.
        k: Sources a target; 0 searches nothing and leaves what `include_self` and `given` bring.
        ptr: Boundaries of the targets' sets; None is one set.
        key_ptr: Boundaries of the sources' sets, as many sets; None is `ptr`.
        method: "exact" or "auto", which picks among the known methods.
        causal: Let a target listen only to itself and what precedes it in its set.
        include_self: Link every token to itself, in addition to its k others.
        exclude_self: Link no token to itself.
        given: Edges that are always kept, marked in the result's `given`; those that `causal` or
            `exclude_self` forbids are left out.

    Returns:
        An unweighted graph.

    Raises:
        ValueError: If shapes do not fit, a vector is not finite, k is negative, the method is not
            known, a given edge joins two sets, or `causal`, `include_self` or `exclude_self` is asked for
            where sources are not the targets.
    """
    own = causal or include_self or exclude_self
    ptr_in = ptr
    ptr, key_ptr = _check(query, key, k, ptr, key_ptr, method, own)
    if include_self and exclude_self:
        raise ValueError("include_self and exclude_self contradict each other (got both True)")
    skip_self = include_self or exclude_self
    query, key = _tame("query", query), _tame("key", key)
    search = Search(query, key, ptr, key_ptr, k, causal, skip_self, include_self)
    rowptr, col = _link(search)
    graph = TokenGraph(rowptr, col, key.shape[0], ptr=ptr_in)
    if given is None:
        return graph
    union, is_new = _union(graph, given, ptr, key_ptr, causal, exclude_self)
    exact = query.dtype == torch.float64 and k > 0
    return _given_first(union, is_new, query, key, include_self) if exact else union


def _link(search: Search) -> tuple[Tensor, Tensor]:
    """Link small sets completely, search the others, and put both in the order of rows."""
    ptr, key_ptr, k = search.ptr, search.key_ptr, search.k
    num_targets, num_sources = search.query.shape[0], search.key.shape[0]
    rows = torch.arange(num_targets, device=ptr.device)
    if k == 0:
        if not search.add_self:
            return ptr.new_zeros(num_targets + 1), ptr.new_zeros(0)
        return torch.arange(num_targets + 1, device=ptr.device), rows
    is_complete = key_ptr.diff() - int(search.skip_self) <= k
    found = [] if bool(is_complete.all()) else search.run((~is_complete).nonzero().flatten())
    if len(found) == 1 and found[0].count is None and found[0].row.numel() == num_targets:
        width = found[0].col.shape[1]
        return torch.arange(0, num_targets * width + 1, width, device=ptr.device), found[0].col.flatten()

    set_of = row_index(ptr, num_targets)
    first = key_ptr[set_of]
    drops_self = search.skip_self and not search.add_self
    degree = rows - first + 1 if search.causal else key_ptr.diff()[set_of]
    degree = torch.where(is_complete[set_of], degree - int(drops_self), 0)
    for part in found:
        degree[part.row] = part.col.shape[1] if part.count is None else part.count
    rowptr = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    # Every row filled up with consecutive sources is right for complete sets; the others follow.
    num_edges = int(rowptr[-1])
    col = torch.repeat_interleave(first - rowptr[:-1], degree, output_size=num_edges)
    col += torch.arange(num_edges, device=col.device)
    if drops_self and not search.causal:
        col += col >= torch.repeat_interleave(rows, degree, output_size=num_edges)
    for part in found:
        place = rowptr[part.row, None] + torch.arange(part.col.shape[1], device=col.device)
        if part.count is None:
            col[place] = part.col
        else:
            there = part.col < num_sources
            col[place[there]] = part.col[there]
    return rowptr, col


def _union(
    graph: TokenGraph, given: TokenGraph, ptr: Tensor, key_ptr: Tensor, causal: bool, exclude_self: bool
) -> tuple[TokenGraph, Tensor]:
    """Add the given edges to the graph, in place among the others, and mark them; say which are new."""
    if (given.num_targets, given.num_sources) != (graph.num_targets, graph.num_sources):
        raise ValueError(
            f"given must have {graph.num_targets} targets and {graph.num_sources} sources "
            f"(got {given.num_targets} and {given.num_sources})"
        )
    row, col = given.row, given.col
    if ptr.numel() > 2:
        crossing = row_index(ptr, graph.num_targets)[row] != row_index(key_ptr, graph.num_sources)[col]
        if bool(crossing.any()):
            edge = int(crossing.nonzero()[0])
            raise ValueError(f"given edge {int(col[edge])} → {int(row[edge])} joins two sets")
    if causal or exclude_self:
        keep = torch.ones_like(row, dtype=torch.bool)
        if causal:
            keep &= col <= row
        if exclude_self:
            keep &= col != row
        row, col = row[keep], col[keep]
    # Both lists are sorted by (row, col): an edge's place in the other is a binary search.
    have = graph.row * graph.num_sources + graph.col
    wanted = row * graph.num_sources + col
    place = torch.searchsorted(have, wanted)
    known = torch.zeros_like(wanted, dtype=torch.bool)
    if have.numel():
        known = have[place.clamp(max=have.numel() - 1)] == wanted
    new = ~known
    at = place[new] + torch.arange(int(new.sum()), device=place.device)
    is_new = torch.zeros(have.numel() + at.numel(), dtype=torch.bool, device=at.device)
    is_new[at] = True
    cols = torch.empty(is_new.numel(), dtype=graph.col.dtype, device=at.device)
    cols[is_new], cols[~is_new] = col[new], graph.col
    marked = is_new.clone()
    marked[(~is_new).nonzero().flatten()[place[known]]] = True
    added = torch.bincount(row[new], minlength=graph.num_targets).cumsum(0)
    rowptr = graph.rowptr.clone()
    rowptr[1:] += added
    return TokenGraph(rowptr, cols, graph.num_sources, given=marked, ptr=graph.ptr), is_new


def _given_first(
    graph: TokenGraph, is_new: Tensor, query: Tensor, key: Tensor, include_self: bool
) -> TokenGraph:
    """Drop found edges that a given edge of equal score, not found, would have kept out.

    Two sources in the same position, one given and the other not, score alike: which of them has the lower
    index must not decide how many edges there are.
    """
    if not bool(is_new.any()):
        return graph
    assert graph.given is not None
    row, col = graph.row, graph.col
    scores = edge_dot(query[:, None], key[:, None], graph).squeeze(-1)
    found = ~is_new & (row != col) if include_self else ~is_new
    last = scores.new_full((graph.num_targets,), math.inf)
    last.scatter_reduce_(0, row[found], scores[found], "amin")
    unit = 2 / TIE_STEPS * query.norm(dim=-1)[row] * key.norm(dim=-1)[col]
    tied = (scores - last[row]).abs() <= unit
    missed = torch.bincount(row[is_new & tied], minlength=graph.num_targets)
    loose = tied & found & ~graph.given
    before = torch.cat([missed.new_zeros(1), loose.cumsum(0)])
    keep = ~loose | (before[graph.rowptr[1:]][row] - before[:-1] > missed[row])
    rowptr = torch.cat([missed.new_zeros(1), keep.cumsum(0)])[graph.rowptr]
    return TokenGraph(rowptr, col[keep], graph.num_sources, given=graph.given[keep], ptr=graph.ptr)


def _check(
    query: Tensor, key: Tensor, k: int, ptr: Tensor | None, key_ptr: Tensor | None, method: str, own: bool
) -> tuple[Tensor, Tensor]:
    """Check the arguments and return both pointers."""
    if method not in METHODS:
        known = " or ".join(f'"{name}"' for name in METHODS)
        raise ValueError(f"method must be {known} (got {method!r})")
    if k < 0:
        raise ValueError(f"k must not be negative (got {k})")
    if query.ndim != 2 or key.ndim != 2 or query.shape[1] != key.shape[1] or query.dtype != key.dtype:
        raise ValueError(
            "query and key must be [tokens, affinity] of the same affinity and type "
            f"(got {query.dtype} {list(query.shape)} and {key.dtype} {list(key.shape)})"
        )
    if key_ptr is None:
        key_ptr = ptr
    elif ptr is None and key_ptr.numel() != 2:
        raise ValueError(f"key_ptr has {key_ptr.numel() - 1} sets, but without ptr there is 1")
    ptr = _check_ptr("ptr", ptr, query)
    key_ptr = _check_ptr("key_ptr", key_ptr, key)
    if ptr.numel() != key_ptr.numel():
        raise ValueError(
            f"ptr and key_ptr must have as many sets (got {ptr.numel() - 1} and {key_ptr.numel() - 1})"
        )
    if own and not torch.equal(ptr, key_ptr):
        raise ValueError(
            "causal, include_self and exclude_self need sources that are the targets: "
            "as many, in the same sets"
        )
    return ptr, key_ptr


def _tame(name: str, x: Tensor) -> Tensor:
    """Bring vectors to a type and size whose products do not overflow; the order of products stays."""
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    if not x.numel():
        return x
    largest = max(abs(float(bound)) for bound in x.aminmax())
    if not math.isfinite(largest):
        token = int((~x.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite (token {token} is not)")
    # Scaling by a power of two rounds nothing.
    return x / 2.0 ** (math.frexp(largest)[1] - 1) if largest > 1e12 else x


def _check_ptr(name: str, ptr: Tensor | None, x: Tensor) -> Tensor:
    if ptr is None:
        return torch.tensor([0, x.shape[0]], device=x.device)
    if ptr.ndim != 1 or not ptr.numel() or int(ptr[0]) != 0 or int(ptr[-1]) != x.shape[0]:
        raise ValueError(f"{name} must run from 0 to the number of tokens, {x.shape[0]} (got {ptr.tolist()})")
    if bool((ptr.diff() < 0).any()):
        raise ValueError(f"{name} must not fall (got {ptr.tolist()})")
    return ptr

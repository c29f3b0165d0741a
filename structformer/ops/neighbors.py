"""Neighbour search: from vectors to the graph of who listens to whom."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.linear_maps import edge_dot
from structformer.ops.search.checks import check_edges, check_vectors, tame
from structformer.ops.search.choose import METHODS
from structformer.ops.search.exact import TIE_STEPS, Found, Search
from structformer.ops.search.find import Options, find

# The seed where no generator is passed.
_SEED = 2001_04451


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
    *,
    recall: float = 0.95,
    start: TokenGraph | None = None,
    rounds: int | None = None,
    generator: torch.Generator | None = None,
) -> TokenGraph:
    """Link every target i to the k sources j of its own set with the largest ⟨query_i, key_j⟩.

    A set with no more than k candidates is linked completely. Nothing of size targets × sources is
    held in memory. In float64, products that agree to about 1e-10 of the largest possible in
    their set count as equal, and given edges, then lower indices, go first, so that the graph of a set does
    not depend on the sets beside it; in lower precision near ties may fall either way.

    Small sets are searched exactly, whatever the method. "exact" searches all sets so. "ivf" (FAISS) looks
    into as many k-means cells as a sample needs for the wanted recall. "lsh" (random rotations, as in Reformer,
    refined along the graph found) depends on the order of tokens through ties alone. "warm" is "lsh" from
    a graph of nearly the same vectors, in a fraction of the time. "auto" chooses for each set as
    `structformer.ops.search_method` says. All link a target to as many sources, compare vectors in single
    precision unless exact, and repeat their result. `neighbor_recall` measures what they miss.

    The edges carry no gradient; their scores, from `structformer.ops.edge_dot`, do:

    >>> tokens = torch.eye(3).repeat(2, 1).requires_grad_()
    >>> graph = neighbors(tokens, tokens, k=1, exclude_self=True)
    >>> graph.col.tolist()
    [3, 4, 5, 0, 1, 2]
    >>> edge_dot(tokens[:, None], tokens[:, None], graph).sum().backward()
    >>> tokens.grad.sum()
    tensor(12.)

    Args:
        query: One vector a target.
        key: One vector a source.
        k: Sources a target; 0 searches nothing and leaves what `include_self` and `given` bring.
        ptr: Boundaries of the targets' sets; None is one set.
        key_ptr: Boundaries of the sources' sets, as many sets; None is `ptr`.
        method: "auto", "exact", "ivf", "lsh" or "warm".
        causal: Let a target listen only to itself and what precedes it in its set.
        include_self: Link every token to itself, in addition to its k others.
        exclude_self: Link no token to itself.
        given: Edges that are always kept, marked in the result's `given`; those that `causal` or
            `exclude_self` forbids are left out.
        recall: Share of the exact edges that "ivf" must find, in (0, 1].
        start: The graph from which "warm" starts (and "auto", where it approximates).
        rounds: Rounds of "lsh" and "warm" along the graph; None is 3 and 1.
        generator: Where random rotations and samples come from; None is a new one with a fixed seed.

    Returns:
        An unweighted graph.

    Raises:
        ValueError: If shapes do not fit, a vector is not finite, k is negative, the method is not
            known or does not go with `start`, recall or rounds are out of range, a given edge or one of
            `start` joins two sets, or `causal`, `include_self` or `exclude_self` is asked for where
            sources are not the targets.
        ModuleNotFoundError: If "ivf" is asked for and FAISS is not installed.
    """
    own = causal or include_self or exclude_self
    ptr_in = ptr
    ptr, key_ptr = check_vectors(query, key, k, ptr, key_ptr, own)
    if include_self and exclude_self:
        raise ValueError("include_self and exclude_self contradict each other (got both True)")
    _check_options(method, recall, start, rounds)
    skip_self = include_self or exclude_self
    query, key = tame("query", query), tame("key", key)
    if start is not None:
        check_edges("start", start, ptr, key_ptr)
    if given is not None:
        check_edges("given", given, ptr, key_ptr)
    spans = torch.stack([ptr[:-1], ptr[1:]], dim=1), torch.stack([key_ptr[:-1], key_ptr[1:]], dim=1)
    search = Search(query, key, *spans, k, causal, skip_self, include_self)
    generator = torch.Generator().manual_seed(_SEED) if generator is None else generator
    options = Options(method, recall, start, rounds, generator, torch.equal(ptr, key_ptr))
    rowptr, col = _link(search, options)
    graph = TokenGraph(rowptr, col, key.shape[0], ptr=ptr_in)
    if given is None:
        return graph
    union, is_new = _union(graph, given, causal, exclude_self)
    exact = query.dtype == torch.float64 and k > 0
    return _given_first(union, is_new, query, key, include_self) if exact else union


def _link(search: Search, options: Options) -> tuple[Tensor, Tensor]:
    """Link small sets completely, search the others, and put both in the order of rows."""
    num_targets, num_sources = search.query.shape[0], search.key.shape[0]
    device = search.rows.device
    rows = torch.arange(num_targets, device=device)
    if search.k == 0:
        if not search.add_self:
            return rows.new_zeros(num_targets + 1), rows.new_zeros(0)
        return torch.arange(num_targets + 1, device=device), rows
    set_sizes, num_candidates = search.rows.diff()[:, 0], search.cols.diff()[:, 0]
    is_complete = num_candidates - int(search.skip_self) <= search.k
    found: list[Found] = []
    if not bool(is_complete.all()):
        found = find(replace(search, rows=search.rows[~is_complete], cols=search.cols[~is_complete]), options)
    if len(found) == 1 and found[0].count is None and found[0].row.numel() == num_targets:
        width = found[0].col.shape[1]
        return torch.arange(0, num_targets * width + 1, width, device=device), found[0].col.flatten()

    set_of = torch.repeat_interleave(torch.arange(len(set_sizes), device=device), set_sizes)
    first = search.cols[set_of, 0]
    drops_self = search.skip_self and not search.add_self
    degree = rows - first + 1 if search.causal else num_candidates[set_of]
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


def _check_options(method: str, recall: float, start: TokenGraph | None, rounds: int | None) -> None:
    if method not in METHODS:
        known = ", ".join(f'"{name}"' for name in METHODS[:-1])
        raise ValueError(f'method must be {known} or "{METHODS[-1]}" (got {method!r})')
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1 (got {recall})")
    if method == "warm" and start is None:
        raise ValueError('method "warm" needs a graph to start from: start must be given (got None)')
    if start is not None and method not in ("auto", "warm"):
        raise ValueError(f'start goes with method "auto" or "warm" (got {method!r})')
    if rounds is not None and rounds < 0:
        raise ValueError(f"rounds must not be negative (got {rounds})")


def _union(
    graph: TokenGraph, given: TokenGraph, causal: bool, exclude_self: bool
) -> tuple[TokenGraph, Tensor]:
    """Add the given edges to the graph, in place among the others, and mark them; say which are new."""
    row, col = given.row, given.col
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

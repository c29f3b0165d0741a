"""The readable twin of every kernel: loops over rows, edges and tokens, differentiated by torch.

Only tests call these. Names, arguments and results are those of the fast functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from structformer.graph import TokenGraph


def segment_sum(src: Tensor, rowptr: Tensor) -> Tensor:
    """Sum each row's entries."""
    return torch.stack([row.sum(0) for row in _rows(src, rowptr)])


def segment_max(src: Tensor, rowptr: Tensor) -> Tensor:
    """Take the largest of each row's entries; zeros for an empty row."""
    return torch.stack([row.amax(0) if len(row) else row.sum(0) for row in _rows(src, rowptr)])


def gather(src: Tensor, rowptr: Tensor) -> Tensor:
    """Repeat every row's value once for each of its entries."""
    return torch.cat([src[i].expand(int(n), *src.shape[1:]) for i, n in enumerate(rowptr.diff())])


def segment_softmax(scores: Tensor, rowptr: Tensor) -> Tensor:
    """Softmax over each row."""
    return torch.cat([_columnwise(_softmax, row) for row in _rows(scores, rowptr)])


def segment_sparsemax(scores: Tensor, rowptr: Tensor) -> Tensor:
    """Sparsemax over each row."""
    return segment_entmax(scores, rowptr, 2.0)


def segment_entmax(scores: Tensor, rowptr: Tensor, alpha: float | Tensor = 1.5) -> Tensor:
    """α-entmax over each row."""
    alpha = torch.as_tensor(alpha, dtype=scores.dtype)
    if alpha.numel() == 1 and alpha == 1:
        return segment_softmax(scores, rowptr)
    return torch.cat([_columnwise(_entmax, row, alpha) for row in _rows(scores, rowptr)])


def edge_dot(query: Tensor, key: Tensor, graph: TokenGraph) -> Tensor:
    """⟨query_i, key_j⟩ for every edge j → i and head."""
    return (query[graph.row] * key[graph.col]).sum(-1)


def edge_sum(weights: Tensor, value: Tensor, graph: TokenGraph) -> Tensor:
    """Sum the weighted values that every target hears."""
    return segment_sum(weights[..., None] * value[graph.col], graph.rowptr)


def graph_filter(weights: Tensor, h: Tensor, graph: TokenGraph, coefficients: Sequence[float]) -> Tensor:
    """Add up the powers of the dense matrix of weights, times h."""
    dense = torch.zeros(len(h), len(h), dtype=h.dtype).index_put(
        (graph.row, graph.col), weights, accumulate=True
    )
    powers = [torch.linalg.matrix_power(dense, step) @ h for step in range(len(coefficients))]
    return torch.stack([c * state for c, state in zip(coefficients, powers, strict=True)]).sum(0)


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None = None,
    alpha: float | Tensor = 1.0,
) -> Tensor:
    """Attention as dense matrices [targets, sources], with −∞ where there is no edge."""
    heads: list[Tensor] = []
    dense_rowptr = torch.arange(graph.num_targets + 1) * graph.num_sources
    for h in range(query.shape[1]):
        products = query[:, h] @ key[:, h].T / query.shape[2] ** 0.5
        scores = torch.full_like(products, float("-inf"))
        edge_scores = products[graph.row, graph.col]
        if bias is not None:
            edge_scores = edge_scores + (bias if bias.ndim == 1 else bias[:, h])
        scores = scores.index_put((graph.row, graph.col), edge_scores)
        head_alpha = alpha[h] if isinstance(alpha, Tensor) and alpha.ndim else alpha
        weights = segment_entmax(scores.flatten(), dense_rowptr, head_alpha).view_as(scores)
        heads.append(weights @ value[:, h])
    return torch.stack(heads, dim=1)


def neighbors(
    query: Tensor,
    key: Tensor,
    k: int,
    ptr: Tensor | None = None,
    key_ptr: Tensor | None = None,
    causal: bool = False,
    include_self: bool = False,
    exclude_self: bool = False,
    given: TokenGraph | None = None,
) -> TokenGraph:
    """Rank every target's candidates by their products, one at a time."""
    bounds = [0, len(query)] if ptr is None else ptr.tolist()
    key_bounds = key_ptr.tolist() if key_ptr is not None else [0, len(key)] if ptr is None else bounds
    given_edges = set() if given is None else set(zip(given.row.tolist(), given.col.tolist(), strict=True))
    edges: set[tuple[int, int]] = set()
    for s in range(len(bounds) - 1):
        sources = range(key_bounds[s], key_bounds[s + 1])
        for i in range(bounds[s], bounds[s + 1]):
            score = {j: float(query[i] @ key[j]) for j in sources}
            # Rounding to an absolute grid tells ties apart only where vectors have a length around one.
            allowed = [j for j in sources if not (causal and j > i) and not (exclude_self and j == i)]
            others = [j for j in allowed if not (include_self and j == i)]
            best = sorted(others, key=lambda j: (-round(score[j], 9), (i, j) not in given_edges, j))[:k]
            edges |= {(i, j) for j in best}
            edges |= {(i, j) for j in allowed if (i, j) in given_edges or (include_self and i == j)}
    pairs = sorted(edges)
    counts = torch.bincount(torch.tensor([i for i, _ in pairs], dtype=torch.long), minlength=len(query))
    return TokenGraph(
        rowptr=torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
        col=torch.tensor([j for _, j in pairs], dtype=torch.long),
        num_sources=len(key),
        given=None
        if given is None
        else torch.tensor([pair in given_edges for pair in pairs], dtype=torch.bool),
        ptr=ptr,
    )


def _rows(x: Tensor, rowptr: Tensor) -> list[Tensor]:
    bounds = rowptr.tolist()
    return [x[a:b] for a, b in pairwise(bounds)]


def _columnwise(function, x: Tensor, *per_head: Tensor) -> Tensor:  # pyright: ignore[reportMissingParameterType]
    """Apply a function of one row to every head; −∞ entries get zeros and do not take part."""
    if x.ndim == 2:
        spread = [[a.expand(x.shape[1])[h] for a in per_head] for h in range(x.shape[1])]
        return torch.stack([_columnwise(function, x[:, h], *spread[h]) for h in range(x.shape[1])], dim=1)
    taking_part = x != float("-inf")
    out = torch.zeros_like(x)
    return out.masked_scatter(taking_part, function(x[taking_part], *per_head)) if taking_part.any() else out


def _softmax(x: Tensor) -> Tensor:
    weights = (x - x.max()).exp()
    return weights / weights.sum()


def _entmax(x: Tensor, alpha: Tensor) -> Tensor:
    """Find τ by bisection, then let one Newton step, which moves it no further, carry the gradient."""
    z, power = (alpha - 1) * x, 1 / (alpha - 1)
    with torch.no_grad():
        low, high = z.max() - 1, z.max()
        for _ in range(80):
            middle = (low + high) / 2
            if (z - middle).clamp(min=0).pow(power).sum() >= 1:
                low = middle
            else:
                high = middle
        support = z > low
        slope = (power * (z[support] - low).pow(power - 1)).sum()
    tau = low + ((z[support] - low).pow(power).sum() - 1) / slope
    # masked_scatter, unlike a clamp at zero, keeps powers of zero out of the gradient.
    return torch.zeros_like(z).masked_scatter(support, (z[support] - tau).pow(power))

"""Two linear maps along the edges of a graph, of which attention is made: edge_dot and edge_sum."""

from __future__ import annotations

import functools
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.fused_operator import edge_scores, edge_sums
from structformer.ops.paths import product_path
from structformer.ops.pattern import Pattern, dot_kernel, sum_kernel


def edge_dot(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    graph: TokenGraph,
    path: str | None = None,
) -> Float[Tensor, "edges heads"]:
    """Return ⟨query_i, key_j⟩ for every edge j → i and head.

    Args:
        query: One vector a target and head.
        key: One vector a source and head.
        graph: The edges; their weights play no part.
        path: "fused" (compiled kernels; CPU), "csr" (sparse matrix products; CPU with MKL) or "gather" (any
            device and type); None takes the first that is possible.

    Raises:
        ValueError: If the shapes do not fit each other and the graph, or the path is not possible.
    """
    check_pair(query, key, graph)
    dtype, (query, key) = same_precision(query, key)
    path = product_path(path, query, key)
    if path == "fused":
        return _Dot.apply(query, key, Pattern.of(graph), path).to(dtype)
    return _Dot.apply(by_head(query), by_head(key), Pattern.of(graph), path).t().to(dtype)


def edge_sum(
    weights: Float[Tensor, "edges heads"],
    value: Float[Tensor, "sources heads channels"],
    graph: TokenGraph,
    path: str | None = None,
) -> Float[Tensor, "targets heads channels"]:
    """Return Σ_j weights_ij · value_j over the edges j → i of every target; zeros without edges.

    Args:
        weights: One weight an edge and head, in the order of the graph's edges.
        value: One vector a source and head.
        graph: The edges; their own weights play no part.
        path: As in `edge_dot`.

    Raises:
        ValueError: If the shapes do not fit each other and the graph, or the path is not possible.
    """
    check_tokens("value", value, graph.num_sources)
    if weights.shape != (graph.num_edges, value.shape[1]):
        raise ValueError(
            f"weights must be [edges, heads], {[graph.num_edges, value.shape[1]]} (got {list(weights.shape)})"
        )
    dtype, (weights, value) = same_precision(weights, value)
    path = product_path(path, weights, value)
    if path == "fused":
        return _Sum.apply(weights, value, Pattern.of(graph), path).to(dtype)
    out = _Sum.apply(weights.t().contiguous(), by_head(value), Pattern.of(graph), path)
    return out.transpose(0, 1).to(dtype)


def check_tokens(name: str, x: Tensor, tokens: int) -> None:
    """Raise a ValueError unless there is one vector a token and head."""
    if x.ndim != 3 or x.shape[0] != tokens:
        raise ValueError(
            f"{name} must be [tokens, heads, channels] with {tokens} tokens (got {list(x.shape)})"
        )


def check_pair(query: Tensor, key: Tensor, graph: TokenGraph) -> None:
    """Raise a ValueError unless queries and keys fit each other and the graph."""
    check_tokens("query", query, graph.num_targets)
    check_tokens("key", key, graph.num_sources)
    if query.shape[1:] != key.shape[1:]:
        raise ValueError(
            "query and key must agree in heads and channels "
            f"(got {list(query.shape[1:])} and {list(key.shape[1:])})"
        )


def same_precision(*tensors: Tensor) -> tuple[torch.dtype, list[Tensor]]:
    """Return the type of the result, and the tensors in the type to compute in: at least float32."""
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in tensors))
    work = torch.promote_types(dtype, torch.float32)
    return dtype, [x.to(work) for x in tensors]


def by_head(x: Float[Tensor, "tokens heads channels"]) -> Float[Tensor, "heads tokens channels"]:
    """Bring heads first, each a contiguous matrix."""
    return x.transpose(0, 1).contiguous()


# Each function is linear in both arguments, and the derivatives of each are the two functions again, on the pattern or
# its transpose. The fused kernels have tokens and edges first, the others heads.
class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, pattern: Pattern, path: str) -> Tensor:
        ctx.pattern, ctx.path = pattern, path
        ctx.save_for_backward(query, key)
        if path == "fused":
            return edge_scores(query, key, pattern.rowptr, pattern.col)
        return dot_kernel(query, key, pattern, path)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        query, key = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_query = grad_key = None
        if ctx.needs_input_grad[0]:
            grad_query = _Sum.apply(grad, key, ctx.pattern, ctx.path)
        if ctx.needs_input_grad[1]:
            transposed, perm = ctx.pattern.transposed
            grad_key = _Sum.apply(_permuted(grad, perm, ctx.path), query, transposed, ctx.path)
        return grad_query, grad_key, None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, value: Tensor, pattern: Pattern, path: str) -> Tensor:
        ctx.pattern, ctx.path = pattern, path
        ctx.save_for_backward(weights, value)
        if path == "fused":
            return edge_sums(weights, value, pattern.rowptr, pattern.col)
        return sum_kernel(weights, value, pattern, path)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weights, value = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_weights = grad_value = None
        if ctx.needs_input_grad[0]:
            grad_weights = _Dot.apply(grad, value, ctx.pattern, ctx.path)
        if ctx.needs_input_grad[1]:
            transposed, perm = ctx.pattern.transposed
            grad_value = _Sum.apply(_permuted(weights, perm, ctx.path), grad, transposed, ctx.path)
        return grad_weights, grad_value, None, None


def _permuted(x: Tensor, perm: Int[Tensor, "edges"], path: str) -> Tensor:
    return x.index_select(0 if path == "fused" else 1, perm)

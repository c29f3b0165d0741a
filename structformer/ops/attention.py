"""Attention along the edges of a graph, from two linear maps: edge_dot and edge_sum."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.ops.arrange import arrangement
from structformer.ops.entmax import Normalizer, alpha_of, segment_entmax
from structformer.ops.operator import attention
from structformer.ops.paths import attention_path, product_path
from structformer.ops.pattern import Pattern, dot_kernel, sum_kernel
from structformer.ops.triton_operator import fused_attention


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
        path: "csr" (sparse matrix products; CPU with MKL) or "gather" (any device and type); None takes
            the faster one that is possible.

    Raises:
        ValueError: If the shapes do not fit each other and the graph, or the path is not possible.
    """
    _check_pair(query, key, graph)
    dtype, (query, key) = _same_precision(query, key)
    path = product_path(path, query, key)
    return _Dot.apply(_by_head(query), _by_head(key), Pattern.of(graph), path).t().to(dtype)


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
    _check("value", value, graph.num_sources)
    if weights.shape != (graph.num_edges, value.shape[1]):
        raise ValueError(
            f"weights must be [edges, heads], {[graph.num_edges, value.shape[1]]} (got {list(weights.shape)})"
        )
    dtype, (weights, value) = _same_precision(weights, value)
    path = product_path(path, weights, value)
    out = _Sum.apply(weights.t().contiguous(), _by_head(value), Pattern.of(graph), path)
    return out.transpose(0, 1).to(dtype)


@overload
def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None = None,
    normalizer: Normalizer = "softmax",
    scale: float | None = None,
    dropout: float = 0.0,
    return_weights: Literal[False] = False,
    path: str | None = None,
    arrange: bool | None = None,
) -> Tensor: ...


@overload
def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None = None,
    normalizer: Normalizer = "softmax",
    scale: float | None = None,
    dropout: float = 0.0,
    *,
    return_weights: Literal[True],
    path: str | None = None,
    arrange: bool | None = None,
) -> tuple[Tensor, Tensor]: ...


def sparse_attention(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    value: Float[Tensor, "sources heads values"],
    graph: TokenGraph,
    bias: Tensor | None = None,
    normalizer: Normalizer = "softmax",
    scale: float | None = None,
    dropout: float = 0.0,
    return_weights: bool = False,
    path: str | None = None,
    arrange: bool | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend along the edges of a graph.

    a_ij = ρ_{j in row i}(scale · ⟨q_i, k_j⟩ + bias_ij) and out_i = Σ_j a_ij v_j, in memory O(edges · heads).
    A target without edges gets zeros.

    Args:
        query: One vector a target and head.
        key: One vector a source and head.
        value: One vector a source and head, of any number of channels.
        graph: Who listens to whom; its weights play no part unless given as `bias`.
        bias: Added to the scores, `[edges]` for all heads or `[edges, heads]`; −inf removes an edge.
        normalizer: ρ: "softmax", "sparsemax", "entmax15", or the α of α-entmax.
        scale: Factor on the products; None is 1/√channels.
        dropout: Probability with which a weight is set to zero, the others being scaled up.
        return_weights: Return `(out, weights)`, the weights `[edges, heads]` as used, after dropout.
        path: "triton", "csr" or "gather"; None takes what `structformer.ops.attention_path` says.
        arrange: Work on the tokens in an order that follows the graph's clusters (`structformer.ops.arrange`),
            which changes nothing but the time. None does so on the CPU where that order is better; False does
            not; True does on any device.

    Returns:
        `[targets, heads, values]`, or a pair with the weights.

    Raises:
        ValueError: If shapes do not fit each other and the graph, the dropout is not in [0, 1), or the
            normaliser or path is unknown or not possible.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1) (got {dropout})")
    _check("value", value, graph.num_sources)
    if bias is not None and tuple(bias.shape) not in (
        (graph.num_edges,),
        (graph.num_edges, 1),
        (graph.num_edges, query.shape[1]),
    ):
        raise ValueError(
            f"bias must be [edges] or [edges, heads], {[graph.num_edges, query.shape[1]]} "
            f"(got {list(bias.shape)})"
        )
    _check_pair(query, key, graph)
    if value.shape[1] != query.shape[1]:
        raise ValueError(f"value must have {query.shape[1]} heads, as query has (got {value.shape[1]})")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if bias is not None and bias.ndim == 1:
        bias = bias[:, None]
    tensors = (query, key, value) if bias is None else (query, key, value, bias)
    path = attention_path(path, *tensors, normalizer=normalizer, return_weights=return_weights)
    alpha = alpha_of(normalizer)
    if path == "triton":
        return _on_gpu(query, key, value, graph, bias, scale, dropout)
    if arrange is None:
        # The choice depends on data, which a traced program does not have.
        arrange = query.device.type == "cpu" and not torch.compiler.is_compiling()
    better = arrangement(graph) if arrange else None
    if better is not None:
        query, key, value = (better.tokens(x) for x in (query, key, value))
        graph, bias = better.graph, None if bias is None else better.edges(bias)
    if isinstance(alpha, Tensor):
        out, weights = _in_parts(query, key, value, graph, bias, alpha, scale, dropout, path)
    else:
        out, weights = _in_one(query, key, value, graph, bias, alpha, scale, dropout, path)
    if better is not None:
        out = better.tokens_back(out)
        weights = better.edges_back(weights) if return_weights else weights
    return (out, weights) if return_weights else out


def edge_weights(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    graph: TokenGraph,
    bias: Tensor | None = None,
    normalizer: Normalizer = "softmax",
    scale: float | None = None,
    path: str | None = None,
) -> Float[Tensor, "edges heads"]:
    """Return the weights of `sparse_attention` alone, with nothing summed; arguments as there."""
    value = key[:, :, :0]
    return sparse_attention(
        query, key, value, graph, bias, normalizer, scale, return_weights=True, path=path
    )[1]


def _in_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None,
    alpha: float,
    scale: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor]:
    """One operator does it all."""
    tensors = [query, key, value] if bias is None else [query, key, value, bias]
    dtype, tensors = _same_precision(*tensors)
    query, key, value, *biases = (_by_head(x) if x.ndim == 3 else x.t().contiguous() for x in tensors)
    kept = None
    if dropout:
        kept = torch.rand(query.shape[0], graph.num_edges, device=query.device) >= dropout
    pattern = _pattern(graph, *tensors)
    given = biases[0] if biases else None
    out, weights = attention(query, key, value, given, kept, *pattern, scale, alpha, dropout, path)
    if kept is not None:
        weights = weights * kept / (1 - dropout)
    return out.transpose(0, 1).to(dtype), weights.t().to(dtype)


def _on_gpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """One kernel a pass; the sums inside are float32 or better whatever the type of the tensors."""
    pattern = _pattern(graph, query, key, value, *([] if bias is None else [bias]))
    # Drawn where the program runs: a number on the GPU would have to be waited for.
    seed = torch.randint(2**31 - 1, (1,)) if dropout else None
    return fused_attention(query, key, value, bias, seed, *pattern, scale, dropout)[0]


def _pattern(graph: TokenGraph, *tensors: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Rows, sources and, where a gradient will be wanted, the transpose."""
    backward = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return *graph.compact, list(graph.compact_transpose) if backward else []


def _in_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None,
    alpha: Tensor,
    scale: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor]:
    """Scores, weights and sums one after the other, for an α that is learned."""
    scores = edge_dot(query * scale, key, graph, path)
    if bias is not None:
        scores = scores + bias
    weights = segment_entmax(scores, graph.rowptr, alpha)
    if dropout:
        weights = F.dropout(weights, dropout)
    return edge_sum(weights, value, graph, path), weights


def _check(name: str, x: Tensor, tokens: int) -> None:
    if x.ndim != 3 or x.shape[0] != tokens:
        raise ValueError(
            f"{name} must be [tokens, heads, channels] with {tokens} tokens (got {list(x.shape)})"
        )


def _check_pair(query: Tensor, key: Tensor, graph: TokenGraph) -> None:
    _check("query", query, graph.num_targets)
    _check("key", key, graph.num_sources)
    if query.shape[1:] != key.shape[1:]:
        raise ValueError(
            "query and key must agree in heads and channels "
            f"(got {list(query.shape[1:])} and {list(key.shape[1:])})"
        )


def _same_precision(*tensors: Tensor) -> tuple[torch.dtype, list[Tensor]]:
    """The type of the result, and the tensors in the type to compute in: at least float32."""
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in tensors))
    work = torch.promote_types(dtype, torch.float32)
    return dtype, [x.to(work) for x in tensors]


def _by_head(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous()


# Heads come first inside. Each function is linear in both arguments, and the
# derivatives of each are the two functions again, on the pattern or its transpose.
class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, pattern: Pattern, path: str) -> Tensor:
        ctx.pattern, ctx.path = pattern, path
        ctx.save_for_backward(query, key)
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
            grad_key = _Sum.apply(grad.index_select(1, perm), query, transposed, ctx.path)
        return grad_query, grad_key, None, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, value: Tensor, pattern: Pattern, path: str) -> Tensor:
        ctx.pattern, ctx.path = pattern, path
        ctx.save_for_backward(weights, value)
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
            grad_value = _Sum.apply(weights.index_select(1, perm), grad, transposed, ctx.path)
        return grad_weights, grad_value, None, None

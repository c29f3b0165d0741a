"""Attention along the edges of a graph."""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.arrange import Arrangement, arrangement
from structformer.ops.dropout import dropout as drop
from structformer.ops.entmax import Normalizer, alpha_of, segment_entmax
from structformer.ops.fused_kernels import ALPHAS
from structformer.ops.fused_operator import dropout_factors, fused_attention
from structformer.ops.linear_maps import by_head, check_pair, check_tokens, edge_dot, edge_sum, same_precision
from structformer.ops.operator import attention
from structformer.ops.paths import attention_path
from structformer.ops.triton_operator import triton_attention


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
    arrange: bool = True,
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
    arrange: bool = True,
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
    arrange: bool = True,
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
        path: "triton", "fused", "csr" or "gather"; None takes what `structformer.ops.attention_path` says.
        arrange: On the path "fused", take rows in an order that follows the graph's clusters where that is better
            (`structformer.ops.arrange`); it changes nothing but the time.

    Returns:
        `[targets, heads, values]`, or a pair with the weights.

    Raises:
        ValueError: If shapes do not fit each other and the graph, the dropout is not in [0, 1), or the
            normaliser or path is unknown or not possible.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1) (got {dropout})")
    check_tokens("value", value, graph.num_sources)
    if bias is not None and tuple(bias.shape) not in (
        (graph.num_edges,),
        (graph.num_edges, 1),
        (graph.num_edges, query.shape[1]),
    ):
        raise ValueError(
            f"bias must be [edges] or [edges, heads], {[graph.num_edges, query.shape[1]]} "
            f"(got {list(bias.shape)})"
        )
    check_pair(query, key, graph)
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
    if isinstance(alpha, Tensor) or (path == "fused" and alpha not in ALPHAS):
        out, weights = _in_parts(query, key, value, graph, bias, alpha, scale, dropout, path)
    elif path == "fused":
        # The choice of an order depends on data, which a traced program does not have.
        better = arrangement(graph) if arrange and not torch.compiler.is_compiling() else None
        out, weights = _fused(query, key, value, graph, bias, alpha, scale, dropout, return_weights, better)
    else:
        out, weights = _in_one(query, key, value, graph, bias, alpha, scale, dropout, path)
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
    dtype, tensors = same_precision(*tensors)
    query, key, value, *biases = (by_head(x) if x.ndim == 3 else x.t().contiguous() for x in tensors)
    kept = None
    if dropout:
        kept = torch.rand(query.shape[0], graph.num_edges, device=query.device) >= dropout
    pattern = _pattern(graph, *tensors)
    given = biases[0] if biases else None
    out, weights = attention(query, key, value, given, kept, *pattern, scale, alpha, dropout, path)
    if kept is not None:
        weights = weights * kept / (1 - dropout)
    return out.transpose(0, 1).to(dtype), weights.t().to(dtype)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None,
    alpha: float,
    scale: float,
    dropout: float,
    return_weights: bool,
    better: Arrangement | None,
) -> tuple[Tensor, Tensor]:
    """One compiled kernel forward and two back; tokens and edges stay first."""
    tensors = [query, key, value] if bias is None else [query, key, value, bias]
    dtype, tensors = same_precision(*tensors)
    query, key, value, *biases = tensors
    seed = torch.randint(2**62, (1,)) if dropout else None
    if better is None:
        pattern = (*_pattern(graph, *tensors), [])
    else:
        transpose = list(better.transpose(graph)) if _goes_back(*tensors) else []
        pattern = better.rowptr, better.col, transpose, [better.order, better.start]
    given = biases[0] if biases else None
    out, weights = fused_attention(query, key, value, given, seed, *pattern, scale, alpha, dropout)
    if seed is not None and return_weights:
        weights = weights * dropout_factors(weights.detach(), seed, dropout)
    return out.to(dtype), weights.to(dtype)


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
    return triton_attention(query, key, value, bias, seed, *pattern, scale, dropout)[0]


def _pattern(graph: TokenGraph, *tensors: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Rows, sources and, where a gradient will be wanted, the transpose."""
    return *graph.compact, list(graph.compact_transpose) if _goes_back(*tensors) else []


def _goes_back(*tensors: Tensor) -> bool:
    """Return whether a gradient will be wanted."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


def _in_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: TokenGraph,
    bias: Tensor | None,
    alpha: float | Tensor,
    scale: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor]:
    """Scores, weights and sums one after the other, for an α that is learned or that no kernel knows."""
    scores = edge_dot(query * scale, key, graph, path)
    if bias is not None:
        scores = scores + bias
    weights = segment_entmax(scores, graph.rowptr, alpha)
    if dropout:
        weights = drop(weights, dropout)
    return edge_sum(weights, value, graph, path), weights

"""Sparse attention as one operator of torch: forward, backward, shapes for tracing and FLOP formulas.

Inside, all tensors have heads first: a head is then a contiguous matrix, small enough for the cache, and its
products with the sparse pattern are single calls. No tensor of shape [edges, channels] exists on the csr path.
Edges to which sparsemax or entmax gave no weight are left out where that pays, see `structformer.ops.support`.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structformer.ops.entmax import scores_gradient, weights_of
from structformer.ops.pattern import Pattern, dot_kernel, sum_kernel
from structformer.ops.rows import Rows
from structformer.ops.support import Support, side_by_side


@torch.library.custom_op("structformer::attention", mutates_args=())
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    kept: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor]:
    """Return what targets hear, [heads, targets, values], and the weights before dropout, [heads, edges].

    Args:
        query: [heads, targets, channels], contiguous.
        key: [heads, sources, channels], contiguous.
        value: [heads, sources, values], contiguous; without values only weights are computed.
        bias: [heads, edges] or [1, edges], or None.
        kept: [heads, edges], False for a weight that dropout drops; None drops nothing.
        rowptr: [targets + 1].
        col: [edges].
        transpose: The graph's transpose, for gradients alone; else empty.
        scale: Factor on the products.
        alpha: α of α-entmax; 1 is softmax.
        dropout: The probability with which ``kept`` was drawn.
        path: "csr" or "gather".
    """
    pattern = Pattern(rowptr, col, key.shape[1])
    scores = dot_kernel(query, key, pattern, path, scale)
    if bias is not None:
        scores += bias
    rows = Rows.of(rowptr, len(col))
    weights = rows.leave_heads(weights_of(rows.enter_heads(scores), alpha, rows))
    used = _used(weights, kept, dropout)
    support = None
    # On the csr path, finding the zeros would cost as much as this one product does.
    if alpha > 1 and path == "gather" and value.shape[2]:
        support = Support.of(weights, rowptr, col, key.shape[1])
    if support is None:
        return sum_kernel(used, value, pattern, path), weights
    out = sum_kernel(support.pick(used), side_by_side(value), Pattern.of(support.graph), path)
    return out.view(len(value), query.shape[1], value.shape[2]), weights


@attention.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, bias: Any, kept: Any, rowptr: Tensor, col: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    heads, targets, _channels = query.shape
    return value.new_empty(heads, targets, value.shape[2]), query.new_empty(heads, col.shape[0])


@torch.library.custom_op("structformer::attention_backward", mutates_args=())
def attention_backward(
    grad_out: Tensor | None,
    grad_weights: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    kept: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scores; arguments as in `attention`."""
    support = Support.of(weights, rowptr, col, key.shape[1]) if alpha > 1 else None
    numbers = scale, alpha, dropout, path
    if support is None:
        pattern = rowptr, col, transpose
        return _gradients(grad_out, grad_weights, query, key, value, weights, kept, *pattern, *numbers)
    # A score has no gradient where its weight is zero: the other edges are all that count.
    grad_query, grad_key, grad_value, grad_scores = _gradients(
        None if grad_out is None else side_by_side(grad_out),
        None if grad_weights is None else support.pick(grad_weights),
        side_by_side(query),
        side_by_side(key),
        side_by_side(value),
        support.pick(weights),
        None if kept is None else support.pick(kept),
        *support.graph.compact,
        list(support.graph.compact_transpose),
        *numbers,
    )
    return (
        grad_query.view(query.shape),
        grad_key.view(key.shape),
        grad_value.view(value.shape),
        support.put_back(grad_scores),
    )


@attention_backward.register_fake
def _(
    grad_out: Any, grad_weights: Any, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        value.new_empty(value.shape),
        weights.new_empty(weights.shape),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bias, kept, rowptr, col, transpose, *ctx.numbers = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(query, key, value, output[1], kept, rowptr, col, *transpose)
    ctx.bias_heads = None if bias is None else bias.shape[0]


def _differentiate(ctx: Any, grad_out: Tensor | None, grad_weights: Tensor | None) -> tuple[Any, ...]:
    *known, transpose_1, transpose_2, transpose_3 = ctx.saved_tensors
    transpose = [transpose_1, transpose_2, transpose_3]
    fixed = None, None, None, [None] * 3, None, None, None, None
    if grad_out is None and grad_weights is None:
        return None, None, None, None, *fixed
    grads = attention_backward(grad_out, grad_weights, *known, transpose, *ctx.numbers)
    grad_bias = None
    if ctx.bias_heads is not None and ctx.needs_input_grad[3]:
        grad_bias = grads[3] if ctx.bias_heads == len(grads[3]) else grads[3].sum(0, keepdim=True)
    return *grads[:3], grad_bias, *fixed


attention.register_autograd(_differentiate, setup_context=_remember)


@register_flop_formula(torch.ops.structformer.attention)
def attention_flops(
    query: Any, key: Any, value: Any, bias: Any, kept: Any, rowptr: Any, col: Any, *_: Any, **__: Any
) -> int:
    """Multiplications and additions: two for each channel of an edge's product and of its message."""
    return 2 * query[0] * col[0] * (query[2] + value[2])


@register_flop_formula(torch.ops.structformer.attention_backward)
def attention_backward_flops(
    grad_out: Any, grad_weights: Any, query: Any, key: Any, value: Any, weights: Any, *_: Any, **__: Any
) -> int:
    """The same going back, where there are two of each; edges that are left out count too."""
    return 4 * weights[0] * weights[1] * (query[2] + value[2])


def _gradients(
    grad_out: Float[Tensor, "heads targets values"] | None,
    grad_weights: Float[Tensor, "heads edges"] | None,
    query: Float[Tensor, "heads targets channels"],
    key: Float[Tensor, "heads sources channels"],
    value: Float[Tensor, "heads sources values"],
    weights: Float[Tensor, "heads edges"],
    kept: Bool[Tensor, "heads edges"] | None,
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    transpose: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
    path: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`attention_backward`, over all edges of the pattern."""
    rowptr_t, row_t, perm = transpose
    pattern, flipped = Pattern(rowptr, col, key.shape[1]), Pattern(rowptr_t, row_t, query.shape[1])
    rows = Rows.of(rowptr, len(col))
    grad_value = value.new_zeros(value.shape)
    grad = None if grad_weights is None else grad_weights.clone(memory_format=torch.contiguous_format)
    if grad_out is not None and value.shape[2]:
        grad_out = grad_out.contiguous()
        heard = dot_kernel(grad_out, value, pattern, path, 1.0)
        if kept is not None:
            heard = heard.mul_(kept).div_(1 - dropout)
        grad = heard if grad is None else heard.add_(grad)
        used = _permuted(_used(weights, kept, dropout), perm)
        grad_value = sum_kernel(used, grad_out, flipped, path)
    if grad is None:
        grad = torch.zeros_like(weights)
    p = rows.enter_heads(weights)
    grad_scores = rows.leave_heads(scores_gradient(p, rows.enter_heads(grad), alpha, rows))
    grad_query = sum_kernel(grad_scores, key, pattern, path, scale)
    grad_key = sum_kernel(_permuted(grad_scores, perm), query, flipped, path, scale)
    return grad_query, grad_key, grad_value, grad_scores


def _used(
    weights: Float[Tensor, "heads edges"], kept: Bool[Tensor, "heads edges"] | None, dropout: float
) -> Float[Tensor, "heads edges"]:
    return weights if kept is None else (weights * kept).div_(1 - dropout)


def _permuted(x: Float[Tensor, "heads edges"], perm: Int[Tensor, "edges"]) -> Float[Tensor, "heads edges"]:
    # index_select would do this along the second dimension in one thread.
    return x.gather(1, perm.expand(len(x), -1))

"""The compiled attention of the CPU as an operator of torch; see `fused_kernels` for the kernels."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structformer.ops import fused_kernels


@torch.library.custom_op("structformer::fused_attention", mutates_args=())
def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    seed: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    order: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return what targets hear, [targets, heads, values], and the weights before dropout, [edges, heads].

    Args:
        query: [targets, heads, channels].
        key: [sources, heads, channels].
        value: [sources, heads, values]; without values only weights are computed.
        bias: [edges, heads] or [edges, 1], or None.
        seed: One number that decides what is dropped; None for no dropout.
        rowptr: [targets + 1].
        col: [edges].
        transpose: The graph's transpose, for gradients alone; else empty.
        order: The order in which the graph and its transpose hold rows, and where the numbers of the rows begin, both
            [targets]; empty where they hold them in the order of tokens.
        scale: Factor on the products.
        alpha: α of α-entmax, one of `fused_kernels.ALPHAS`; 1 is softmax.
        dropout: Probability of dropping a weight.
    """
    drawn = 0 if seed is None else int(seed)
    return fused_kernels.attend(query, key, value, bias, rowptr, col, order, scale, alpha, dropout, drawn)


@fused_attention.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, bias: Any, seed: Any, rowptr: Tensor, col: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    targets, heads, _channels = query.shape
    return query.new_empty(targets, heads, value.shape[2]), query.new_empty(col.shape[0], heads)


@torch.library.custom_op("structformer::fused_attention_backward", mutates_args=())
def fused_attention_backward(
    grad_out: Tensor | None,
    grad_weights: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seed: Tensor | None,
    weights: Tensor,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    order: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scores; arguments as in `fused_attention`."""
    drawn = 0 if seed is None else int(seed)
    known = query, key, value, weights, rowptr, col, transpose, order
    return fused_kernels.attend_backward(grad_out, grad_weights, *known, scale, alpha, dropout, drawn)


@fused_attention_backward.register_fake
def _(
    grad_out: Any,
    grad_weights: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seed: Any,
    weights: Tensor,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        value.new_empty(value.shape),
        weights.new_empty(weights.shape),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bias, seed, rowptr, col, transpose, order, *ctx.numbers = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(query, key, value, seed, output[1], rowptr, col, *transpose, *order)
    ctx.bias_heads = None if bias is None else bias.shape[1]


def _differentiate(ctx: Any, grad_out: Tensor | None, grad_weights: Tensor | None) -> tuple[Any, ...]:
    saved = list(ctx.saved_tensors)
    known, transpose, order = saved[:7], saved[7:10], saved[10:]
    fixed = None, None, None, [None] * 3, [None] * len(order), None, None, None
    if grad_out is None and grad_weights is None:
        return None, None, None, None, *fixed
    grads = fused_attention_backward(grad_out, grad_weights, *known, transpose, order, *ctx.numbers)
    grad_bias = None
    if ctx.bias_heads is not None and ctx.needs_input_grad[3]:
        grad_bias = grads[3] if ctx.bias_heads == grads[3].shape[1] else grads[3].sum(1, keepdim=True)
    return *grads[:3], grad_bias, *fixed


fused_attention.register_autograd(_differentiate, setup_context=_remember)


@register_flop_formula(torch.ops.structformer.fused_attention)
def fused_flops(
    query: Any, key: Any, value: Any, bias: Any, seed: Any, rowptr: Any, col: Any, *_: Any, **__: Any
) -> int:
    """Multiplications and additions: two for each channel of an edge's product and of its message."""
    return 2 * col[0] * query[1] * (query[2] + value[2])


@register_flop_formula(torch.ops.structformer.fused_attention_backward)
def fused_backward_flops(
    grad_out: Any,
    grad_weights: Any,
    query: Any,
    key: Any,
    value: Any,
    seed: Any,
    weights: Any,
    *_: Any,
    **__: Any,
) -> int:
    """The same going back, where there are two of each; edges that are left out count too."""
    return 4 * weights[0] * weights[1] * (query[2] + value[2])


@torch.library.custom_op("structformer::dropout_factors", mutates_args=())
def dropout_factors(weights: Tensor, seed: Tensor, dropout: float) -> Tensor:
    """Return what dropout multiplied weights, [edges, heads], by in `fused_attention`."""
    return fused_kernels.dropout_factors(weights, dropout, int(seed))


@dropout_factors.register_fake
def _(weights: Tensor, seed: Any, dropout: Any) -> Tensor:
    return weights.new_empty(weights.shape)


@torch.library.custom_op("structformer::edge_scores", mutates_args=())
def edge_scores(query: Tensor, key: Tensor, rowptr: Tensor, col: Tensor) -> Tensor:
    """Return the product of both ends of every edge, [edges, heads]; no gradient."""
    return fused_kernels.scores(query, key, rowptr, col)


@edge_scores.register_fake
def _(query: Tensor, key: Tensor, rowptr: Tensor, col: Tensor) -> Tensor:
    return query.new_empty(col.shape[0], query.shape[1])


@torch.library.custom_op("structformer::edge_sums", mutates_args=())
def edge_sums(weights: Tensor, value: Tensor, rowptr: Tensor, col: Tensor) -> Tensor:
    """Return the weighted sum of each row's values, [targets, heads, values]; no gradient."""
    return fused_kernels.sums(weights, value, rowptr, col)


@edge_sums.register_fake
def _(weights: Tensor, value: Tensor, rowptr: Tensor, col: Tensor) -> Tensor:
    return value.new_empty(rowptr.shape[0] - 1, *value.shape[1:])


@register_flop_formula([torch.ops.structformer.edge_scores, torch.ops.structformer.edge_sums])
def edge_flops(x: Any, y: Any, rowptr: Any, col: Any, *_: Any, **__: Any) -> int:
    """Two for each channel of an edge."""
    return 2 * col[0] * y[1] * y[2]

"""The GPU's fused attention as an operator of torch; see `triton_attention` for the kernels' host side."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structformer.ops import triton_attention as kernels


@torch.library.custom_op("structformer::triton_attention", mutates_args=())
def triton_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    seed: Tensor | None,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return `[targets, heads, values]` and, for the way back, the logarithm of each row's sum.

    Args:
        query: [targets, heads, channels].
        key: [sources, heads, channels].
        value: [sources, heads, values].
        bias: [edges, heads] or [edges, 1], or None.
        seed: One number, in the CPU's memory, that decides what is dropped; None for no dropout.
        rowptr: [targets + 1].
        col: [edges].
        transpose: The graph's transpose, for gradients alone; else empty.
        scale: Factor on the products.
        dropout: Probability of dropping a weight.
    """
    drawn = 0 if seed is None else int(seed)
    return kernels.forward(query, key, value, bias, rowptr, col, scale, dropout, drawn)


@triton_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    double = torch.float64 in (query.dtype, key.dtype, value.dtype)
    lse = query.new_empty(query.shape[:2], dtype=torch.float64 if double else torch.float32)
    return query.new_empty(*query.shape[:2], value.shape[2]), lse


@torch.library.custom_op("structformer::triton_attention_backward", mutates_args=())
def triton_attention_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    seed: Tensor | None,
    out: Tensor,
    lse: Tensor,
    rowptr: Tensor,
    col: Tensor,
    transpose: list[Tensor],
    scale: float,
    dropout: float,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and bias (of no entry where none is needed)."""
    drawn = 0 if seed is None else int(seed)
    rowptr_t, row_t, perm = transpose
    pattern = rowptr, col, rowptr_t, row_t, perm
    known = query, key, value, bias, out, lse
    grads = kernels.backward(grad_out, *known, *pattern, scale, dropout, drawn, need_bias)
    return *grads[:3], query.new_empty(0) if grads[3] is None else grads[3]


@triton_attention_backward.register_fake
def _(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    none = query.new_empty(0) if bias is None or not rest[-1] else bias.new_empty(bias.shape)
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape), none


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, rowptr, col, transpose, ctx.scale, ctx.dropout = inputs
    ctx.save_for_backward(*tensors, *output, rowptr, col, *transpose)


def _differentiate(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Any, ...]:
    *known, a, b, c = ctx.saved_tensors
    need_bias = bool(ctx.needs_input_grad[3])
    grads = triton_attention_backward(grad_out, *known, [a, b, c], ctx.scale, ctx.dropout, need_bias)
    return *grads[:3], grads[3] if need_bias else None, None, None, None, [None] * 3, None, None


triton_attention.register_autograd(_differentiate, setup_context=_remember)


@register_flop_formula(torch.ops.structformer.triton_attention)
def fused_flops(
    query: Any, key: Any, value: Any, bias: Any, seed: Any, rowptr: Any, col: Any, *_: Any, **__: Any
) -> int:
    """Multiplications and additions: two for each channel of an edge's product and of its message."""
    return 2 * col[0] * query[1] * (query[2] + value[2])


@register_flop_formula(torch.ops.structformer.triton_attention_backward)
def fused_backward_flops(
    grad_out: Any,
    query: Any,
    key: Any,
    value: Any,
    bias: Any,
    seed: Any,
    out: Any,
    lse: Any,
    rowptr: Any,
    col: Any,
    *_: Any,
    **__: Any,
) -> int:
    """The same going back: scores and weights' gradients are computed twice, and three sums are taken."""
    return 2 * col[0] * query[1] * (4 * query[2] + 3 * value[2])

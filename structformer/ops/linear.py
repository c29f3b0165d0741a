"""Linear maps, by the library that is fastest at them on the processor at hand.

torch takes MKL for matrix products in single precision. On processors by AMD, MKL leaves the wide registers unused that
oneDNN, which torch brings along, makes use of: forward and to the inputs a product then takes half as long or less
(measured: 0.8 to 1.9 ms against 1.8 to 3.6 at 7,680 tokens of 128 features). Gradients of weights stay with MKL.
Results of hundreds of megabytes, which the system takes longer to hand out than either library to compute, go to
memory that is used again (`large`); as oneDNN allocates what it returns, that way leads through parts that fit the
cache (measured at 1,048,576 tokens of 128 features: 237 ms, against 313 by MKL).
"""

import functools
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from structformer.ops.large import empty

# Multiplications below which the way to the other library costs more than it saves.
SMALLEST = 1 << 22
# Bytes of a result above which the pages it lies in matter more than the library.
LARGEST = 128 << 20
# Bytes of a part of such a result.
PART = 2 << 20


def linear(
    x: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, "outputs"] | None = None,
) -> Float[Tensor, "*tokens outputs"]:
    """Return x Wᵀ + b, as `torch.nn.functional.linear` does."""
    return _linear(x, weight, bias) if _serves(x, weight, bias) else F.linear(x, weight, bias)


def linears(
    x: Float[Tensor, "*tokens inputs"],
    maps: Sequence[tuple[Float[Tensor, "_ inputs"], Float[Tensor, "_"] | None]],
) -> tuple[Float[Tensor, "*tokens _"], ...]:
    """Return `linear` of the same tokens by several weights and biases.

    What the tokens are told going back is added up in one tensor, where autograd would make one a map and more for
    their sums.
    """
    if not all(_serves(x, *of) for of in maps):
        return tuple(linear(x, *of) for of in maps)
    return _Linears.apply(x, *(tensor for of in maps for tensor in of))


@cache
def onednn_is_faster() -> bool:
    """Return whether single precision products go to oneDNN here: on Linux, for AMD's processors with AVX-512."""
    if sys.platform != "linux" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkl.is_available():
        return False
    about = Path("/proc/cpuinfo")
    return (
        hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and about.is_file()
        and "AuthenticAMD" in about.read_text()
    )


def _serves(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        # A compiler knows what to do with a plain product, and autocast which type to take.
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    if not plain or not bool(x.numel() * len(weight) >= SMALLEST):
        return False
    return _is_large(x, weight) or onednn_is_faster()


def _is_large(x: Tensor, weight: Tensor) -> bool:
    return x.ndim > 1 and x.numel() // weight.shape[1] * len(weight) * x.element_size() >= LARGEST


@torch.library.custom_op("structformer::linear", mutates_args=())
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not _is_large(x, weight):
        return _by_onednn(x.contiguous(), weight.contiguous(), bias)
    out = _large_sum([x], [weight], bias)
    return out.view(*x.shape[:-1], len(weight))


@torch.library.custom_op("structformer::linear_sum", mutates_args=())
def _linear_sum(xs: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Return Σ x Wᵀ."""
    if _is_large(xs[0], weights[0]):
        return _large_sum(xs, weights, None).view(*xs[0].shape[:-1], len(weights[0]))
    products = (_by_onednn(x.contiguous(), of.contiguous(), None) for x, of in zip(xs, weights, strict=True))
    return functools.reduce(Tensor.add_, products)


def _large_sum(xs: list[Tensor], weights: list[Tensor], bias: Tensor | None) -> Tensor:
    rows = [x.reshape(-1, x.shape[-1]) for x in xs]
    outputs = len(weights[0])
    out = empty(xs[0], len(rows[0]), outputs)
    if not onednn_is_faster():
        before = bias
        for x, of in zip(rows, weights, strict=True):
            if before is None:
                before = torch.mm(x, of.t(), out=out)
            else:
                before = torch.addmm(before, x, of.t(), out=out)
        return out
    weights = [of.contiguous() for of in weights]
    step = max(1, PART // (outputs * out.element_size()))
    for *parts, result in zip(*(x.split(step) for x in rows), out.split(step), strict=True):
        for index, (part, of) in enumerate(zip(parts, weights, strict=True)):
            product = _by_onednn(part.contiguous(), of, None if index else bias)
            result.add_(product) if index else result.copy_(product)
    return out


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad
    rows = grad.reshape(-1, len(weight))
    return (
        linear(grad, weight.t()) if wants_x else None,
        rows.t() @ x.reshape(-1, x.shape[-1]) if wants_weight else None,
        rows.sum(0) if wants_bias else None,
    )


_linear.register_autograd(_differentiate, setup_context=_remember)


@_linear_sum.register_fake
def _(xs: list[Tensor], weights: list[Tensor]) -> Tensor:
    return xs[0].new_empty(*xs[0].shape[:-1], weights[0].shape[0])


def _remember_sum(ctx: Any, inputs: tuple[list[Tensor], list[Tensor]], output: Tensor) -> None:
    xs, weights = inputs
    ctx.save_for_backward(*xs, *weights)


def _differentiate_sum(ctx: Any, grad: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    saved = ctx.saved_tensors
    xs, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
    rows = grad.reshape(-1, grad.shape[-1])
    return (
        [linear(grad, of.t()) for of in weights],
        [rows.t() @ x.reshape(-1, x.shape[-1]) for x in xs],
    )


_linear_sum.register_autograd(_differentiate_sum, setup_context=_remember_sum)


class _Linears(torch.autograd.Function):
    """Several maps of the same tokens, given as weight, bias, weight, bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *maps: Tensor | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *maps[::2])
        ctx.set_materialize_grads(False)
        pairs = zip(maps[::2], maps[1::2], strict=True)
        return tuple(linear(x, of, bias) for of, bias in pairs if of is not None)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        told = [(grad, of) for grad, of in zip(grads, weights, strict=True) if grad is not None]
        grad_x = None
        if told and ctx.needs_input_grad[0]:
            grad_x = _linear_sum([grad for grad, _ in told], [of.t() for _, of in told])
        grad_maps: list[Tensor | None] = []
        for index, grad in enumerate(grads):
            wants_weight, wants_bias = ctx.needs_input_grad[1 + 2 * index : 3 + 2 * index]
            rows = None if grad is None else grad.reshape(-1, grad.shape[-1])
            grad_maps += [
                rows.t() @ x.reshape(-1, x.shape[-1]) if rows is not None and wants_weight else None,
                rows.sum(0) if rows is not None and wants_bias else None,
            ]
        return grad_x, *grad_maps


@register_flop_formula(torch.ops.structformer.linear)
def linear_flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Multiplications and additions: two for each weight and token."""
    tokens = 1
    for size in x[:-1]:
        tokens *= size
    return 2 * tokens * weight[0] * weight[1]


@register_flop_formula(torch.ops.structformer.linear_sum)
def linear_sum_flops(xs: Any, weights: Any, *_: Any, **__: Any) -> int:
    """The same for each of the maps."""
    return sum(linear_flops(x, of) for x, of in zip(xs, weights, strict=True))

"""Linear maps, by the library that is fastest at them on the processor at hand.

torch takes MKL for matrix products in single precision. On processors by AMD, MKL leaves the wide registers unused that
oneDNN, which torch brings along, makes use of: forward and to the inputs a product then takes half as long or less
(measured: 0.8 to 1.9 ms against 1.8 to 3.6 at 7,680 tokens of 128 features). Gradients of weights stay with MKL.
Results of hundreds of megabytes, which the system takes longer to hand out than either library to compute, go to huge
pages; as oneDNN allocates what it returns, that way leads through parts that fit the cache (measured at 1,048,576
tokens of 128 features: 237 ms, against 313 by MKL).
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from structformer.ops.huge_pages import empty

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
    rows = x.reshape(-1, x.shape[-1])
    out = empty(x, len(rows), len(weight))
    if onednn_is_faster():
        weight, step = weight.contiguous(), max(1, PART // (len(weight) * x.element_size()))
        for part, result in zip(rows.split(step), out.split(step), strict=True):
            result.copy_(_by_onednn(part.contiguous(), weight, bias))
    elif bias is None:
        torch.mm(rows, weight.t(), out=out)
    else:
        torch.addmm(bias, rows, weight.t(), out=out)
    return out.view(*x.shape[:-1], len(weight))


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


@register_flop_formula(torch.ops.structformer.linear)
def linear_flops(x: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Multiplications and additions: two for each weight and token."""
    tokens = 1
    for size in x[:-1]:
        tokens *= size
    return 2 * tokens * weight[0] * weight[1]

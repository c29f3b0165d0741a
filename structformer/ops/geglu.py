"""GEGLU as one operator of torch, compiled where the package has compiled kernels."""

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from structformer.ops import compiled


def geglu(value: Float[Tensor, "*shape"], gate: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return value ⊙ gelu(gate) (Shazeer 2020, arXiv 2002.05202), gelu(x) = x · Φ(x)."""
    types = (torch.float32, torch.float64)
    same = value.dtype == gate.dtype and value.shape == gate.shape
    if (
        same
        and value.dtype in types
        and value.device.type == gate.device.type == "cpu"
        and compiled.available()
    ):
        return _geglu(value, gate)
    return value * F.gelu(gate)


@torch.library.custom_op("structformer::geglu", mutates_args=())
def _geglu(value: Tensor, gate: Tensor) -> Tensor:
    value, gate = value.contiguous(), gate.contiguous()
    out = torch.empty_like(value)
    _call("geglu", value, gate, out)
    return out


@_geglu.register_fake
def _(value: Tensor, gate: Tensor) -> Tensor:
    return value.new_empty(value.shape)


@torch.library.custom_op("structformer::geglu_backward", mutates_args=())
def _geglu_backward(grad: Tensor, value: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    grad, value, gate = grad.contiguous(), value.contiguous(), gate.contiguous()
    grads = torch.empty_like(value), torch.empty_like(value)
    _call("geglu_backward", grad, value, gate, *grads)
    return grads


@_geglu_backward.register_fake
def _(grad: Tensor, value: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), value.new_empty(value.shape)


def _call(name: str, *tensors: Tensor) -> None:
    kernel = compiled.kernel(f"{name}_{str(tensors[0].dtype).removeprefix('torch.')}")
    sizes = ctypes.c_int64(tensors[0].numel()), ctypes.c_int64(torch.get_num_threads())
    kernel(*sizes, *(ctypes.c_void_p(x.data_ptr()) for x in tensors))


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    return _geglu_backward(grad, *ctx.saved_tensors)


_geglu.register_autograd(_differentiate, setup_context=_remember)

"""The short convolution of packed sets as one operator of torch, compiled; see `short_convolution_kernels.cpp`."""

import ctypes
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops import compiled
from structformer.ops.large import empty

_INPUTS = "h", "weight", "state"
_NAMES = "ptr", *_INPUTS, "out", "after", "grad_out", "grad_after", *(f"to_{name}" for name in _INPUTS)


class _Problem(ctypes.Structure):
    """The fields of `ConvolutionProblem` in `short_convolution_kernels.cpp`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("doubles", "threads", "sets", "tokens", "width", "size")),
        *((name, ctypes.c_void_p) for name in _NAMES),
    ]


def short_convolution_serves(h: Tensor, weight: Tensor, state: Tensor) -> bool:
    """Return whether `short_convolution` takes these: on the CPU, all of float32 or all of float64, if compiled."""
    fit = all(x.device.type == "cpu" and x.dtype == h.dtype for x in (h, weight, state))
    return fit and h.dtype in (torch.float32, torch.float64) and compiled.available()


def short_convolution(
    h: Float[Tensor, "tokens width"],
    weight: Float[Tensor, "size width"],
    ptr: Int[Tensor, "pointers"],
    state: Float[Tensor, "sets history width"],
) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, "sets history width"]]:
    """Return Σ_{d < size} w_d ⊙ h_{i−d} along each set, and the last ``size - 1`` inputs of each.

    Args:
        h: Tokens.
        weight: w.
        ptr: Boundaries of the sets, which rise from 0 to the number of tokens.
        state: The ``size - 1`` inputs just before each set's first.

    Raises:
        RuntimeError: If the package was installed without compiled kernels.
    """
    return _short_convolution(h, weight, ptr, state)


@torch.library.custom_op("structformer::short_convolution", mutates_args=())
def _short_convolution(h: Tensor, weight: Tensor, ptr: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    out, after = empty(h, *h.shape), state.new_empty(state.shape)
    _run("short_convolution", h, weight, ptr, state, out=out, after=after)
    return out, after


@_short_convolution.register_fake
def _(h: Tensor, weight: Tensor, ptr: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), state.new_empty(state.shape)


@torch.library.custom_op("structformer::short_convolution_backward", mutates_args=())
def _short_convolution_backward(
    grad_out: Tensor | None,
    grad_after: Tensor | None,
    h: Tensor,
    weight: Tensor,
    ptr: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    to_h, to_weight, to_state = (
        empty(h, *h.shape),
        weight.new_empty(weight.shape),
        state.new_empty(state.shape),
    )
    given = {"grad_out": grad_out, "grad_after": grad_after}
    given = {name: grad.contiguous() for name, grad in given.items() if grad is not None}
    to = {"to_h": to_h, "to_weight": to_weight, "to_state": to_state}
    _run("short_convolution_backward", h, weight, ptr, state, **given, **to)
    return to_h, to_weight, to_state


@_short_convolution_backward.register_fake
def _(
    grad_out: Any, grad_after: Any, h: Tensor, weight: Tensor, ptr: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return h.new_empty(h.shape), weight.new_empty(weight.shape), state.new_empty(state.shape)


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    if all(grad is None for grad in grads):
        return None, None, None, None
    to_h, to_weight, to_state = _short_convolution_backward(*grads, *ctx.saved_tensors)
    return to_h, to_weight, None, to_state


_short_convolution.register_autograd(_differentiate, setup_context=_remember)


def _run(name: str, h: Tensor, weight: Tensor, ptr: Tensor, state: Tensor, **others: Tensor) -> None:
    # Held until the kernel returns: what is copied here lives no longer than its name.
    tensors = {"h": h, "weight": weight, "state": state, "ptr": ptr.long()}
    tensors = {of: x.contiguous() for of, x in tensors.items()} | others
    problem = _Problem(
        doubles=h.dtype == torch.float64,
        threads=torch.get_num_threads(),
        sets=len(ptr) - 1,
        tokens=len(h),
        width=h.shape[1],
        size=len(weight),
        **{of: x.data_ptr() for of, x in tensors.items()},
    )
    compiled.kernel(name)(ctypes.byref(problem))

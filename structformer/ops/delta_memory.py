"""The recurrence of the deep–shallow memory as one operator of torch, compiled; see `delta_memory_kernels.cpp`."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from structformer.ops import compiled
from structformer.ops.fused_kernels import rows_of
from structformer.ops.large import empty

SEGMENT = 16
"""Tokens of a set after which its states are kept for the way back. What is kept is a segment's part of what all states
would take; going back, the states of one segment at a time and thread are there, which a cache of 1 MiB holds."""

_TENSORS = ("query", "key", "value", "log_keep", "write", "deep_log_keep", "deep_write", "take", "read")
_STATES = ("shallow", "deep")
_Results = tuple[Tensor, Tensor, Tensor, Tensor]


class _Problem(ctypes.Structure):
    """The fields of `MemoryProblem` in `delta_memory_kernels.cpp`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("doubles", "threads")),
        *((name, ctypes.c_int64) for name in ("sets", "heads", "channels", "slots", "segment")),
        *((name, ctypes.c_void_p) for name in ("ptr", "query", "key", "value")),
        *((name, ctypes.c_int64) for name in ("query_stride", "key_stride", "value_stride")),
        *((name, ctypes.c_void_p) for name in (*_TENSORS[3:], *_STATES, "kept")),
        *((name, ctypes.c_void_p) for name in ("out", "shallow_after", "deep_after")),
        *((name, ctypes.c_void_p) for name in ("grad_out", "grad_shallow", "grad_deep")),
        *((f"to_{name}", ctypes.c_void_p) for name in (*_TENSORS, *_STATES)),
    ]


def delta_memory_serves(*tensors: Tensor) -> bool:
    """Return whether `delta_memory` takes these tensors: on the CPU, all of float32 or all of float64, if compiled."""
    dtype = tensors[0].dtype
    fit = all(x.device.type == "cpu" and x.dtype == dtype for x in tensors)
    return fit and dtype in (torch.float32, torch.float64) and compiled.available()


def delta_memory(
    query: Float[Tensor, "tokens heads channels"],
    key: Float[Tensor, "tokens heads channels"],
    value: Float[Tensor, "tokens heads channels"],
    log_keep: Float[Tensor, "tokens heads"],
    write: Float[Tensor, "tokens heads"],
    deep_log_keep: Float[Tensor, "tokens heads"],
    deep_write: Float[Tensor, "tokens heads"],
    take: Float[Tensor, "tokens heads slots"],
    read: Float[Tensor, "tokens heads slots"],
    ptr: Int[Tensor, "pointers"],
    shallow: Float[Tensor, "sets heads channels channels"],
    deep: Float[Tensor, "sets heads slots channels channels"],
) -> tuple[
    Float[Tensor, "tokens heads channels"],
    Float[Tensor, "sets heads channels channels"],
    Float[Tensor, "sets heads slots channels channels"],
]:
    """Read the tokens of every set one after the other (mathematics.md, 6).

        r_t = v_t − S_{t−1}ᵀ k_t,    S_t = g_t S_{t−1} + β_t k_t r_tᵀ,
        e_t = r_t − Σ_m ω_{m,t} D_{t−1}^(m)ᵀ k_t,    D_t^(m) = g'_t D_{t−1}^(m) + ω_{m,t} β'_t k_t e_tᵀ,
        o_t = S_tᵀ q_t + Σ_m p_{m,t} D_t^(m)ᵀ q_t.

    It is what `structformer.nn.memory_naive.recurrence` computes, values and gradients. One thing differs: slots whose
    share is exactly zero are not looked at, and the gradient of such a share is taken to be zero. Shares that softmax
    or entmax made zero pass none on anyway.

    Args:
        query: q_t.
        key: k_t.
        value: v_t.
        log_keep: log g_t, at most 0, −∞ included.
        write: β_t.
        deep_log_keep: log g'_t, likewise.
        deep_write: β'_t.
        take: ω_{m,t}; there may be no slots.
        read: p_{m,t}.
        ptr: Boundaries of the sets, some of which may be empty.
        shallow: S before the first token of each set.
        deep: D^(m) before the first token of each set.

    Returns:
        The outputs o_t, and both states after the last token of each set. They do not depend on the number of threads,
        nor those of a set on other sets.

    Raises:
        ValueError: If shapes, types, devices or ``ptr`` do not fit each other.
        RuntimeError: If the package was installed without compiled kernels.
    """
    signals = query, key, value, log_keep, write, deep_log_keep, deep_write, take, read
    _check(signals, ptr, shallow, deep)
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (*signals, shallow, deep))
    return _delta_memory(*signals, ptr, shallow, deep, SEGMENT if learns else 0)[:3]


def _check(signals: tuple[Tensor, ...], ptr: Tensor, shallow: Tensor, deep: Tensor) -> None:
    query = signals[0]
    if query.ndim != 3:
        raise ValueError(f"query must be [tokens, heads, channels] (got {list(query.shape)})")
    tokens, heads, channels = query.shape
    if not delta_memory_serves(*signals, shallow, deep) and compiled.available():
        kinds = sorted({f"{x.dtype} on {x.device}" for x in (*signals, shallow, deep)})
        raise ValueError(f"all must be float32 or all float64, on the CPU (got {', '.join(kinds)})")
    if ptr.ndim != 1 or not len(ptr) or ptr[0] != 0 or ptr[-1] != tokens or bool((ptr.diff() < 0).any()):
        raise ValueError(f"ptr must rise from 0 to the number of tokens, {tokens} (got {ptr.tolist()})")
    slots, sets = deep.shape[2:3], len(ptr) - 1
    wanted = [
        *((name, (tokens, heads, channels)) for name in _TENSORS[:3]),
        *((name, (tokens, heads)) for name in _TENSORS[3:7]),
        *((name, (tokens, heads, *slots)) for name in _TENSORS[7:]),
        ("shallow", (sets, heads, channels, channels)),
        ("deep", (sets, heads, *slots, channels, channels)),
    ]
    for (name, shape), x in zip(wanted, (*signals, shallow, deep), strict=True):
        if x.shape != shape:
            raise ValueError(f"{name} must be {list(shape)} (got {list(x.shape)})")


@torch.library.custom_op("structformer::delta_memory", mutates_args=())
def _delta_memory(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_keep: Tensor,
    write: Tensor,
    deep_log_keep: Tensor,
    deep_write: Tensor,
    take: Tensor,
    read: Tensor,
    ptr: Tensor,
    shallow: Tensor,
    deep: Tensor,
    segment: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what `delta_memory` does, and the states before every segment but the first of each set."""
    signals = query, key, value, log_keep, write, deep_log_keep, deep_write, take, read
    results = _results(query, deep, segment, partial(empty, query))
    names = "out", "shallow_after", "deep_after", "kept"
    _run("delta_memory", signals, ptr, shallow, deep, segment, **dict(zip(names, results, strict=True)))
    return results


@_delta_memory.register_fake
def _(query: Tensor, *rest: Any) -> _Results:
    *_, deep, segment = rest
    return _results(query, deep, segment, query.new_empty)


def _results(query: Tensor, deep: Tensor, segment: int, new: Callable[..., Tensor]) -> _Results:
    tokens, heads, channels = query.shape
    sets, _, slots, *square = deep.shape
    each = (1 + slots) * channels * channels + slots
    kept = tokens // segment if segment else 0
    shapes = query.shape, (sets, heads, *square), deep.shape, (kept, heads, each)
    out, shallow, after, before = (new(*shape) for shape in shapes)
    return out, shallow, after, before


@torch.library.custom_op("structformer::delta_memory_backward", mutates_args=())
def _delta_memory_backward(
    grad_out: Tensor | None,
    grad_shallow: Tensor | None,
    grad_deep: Tensor | None,
    signals: list[Tensor],
    ptr: Tensor,
    shallow: Tensor,
    deep: Tensor,
    deep_after: Tensor,
    kept: Tensor,
    segment: int,
) -> list[Tensor]:
    """Return the gradients of the signals and of both first states; those of deep gates without slots say nothing."""
    grads = [empty(x, *x.shape) for x in (*signals, shallow, deep)]
    given = {"grad_out": grad_out, "grad_shallow": grad_shallow, "grad_deep": grad_deep}
    given = {name: grad.contiguous() for name, grad in given.items() if grad is not None}
    to = {f"to_{name}": grad for name, grad in zip((*_TENSORS, *_STATES), grads, strict=True)}
    known = {"deep_after": deep_after, "kept": kept}
    _run("delta_memory_backward", tuple(signals), ptr, shallow, deep, segment, **known, **given, **to)
    return grads


@_delta_memory_backward.register_fake
def _(
    grad_out: Any, grad_shallow: Any, grad_deep: Any, signals: list[Tensor], ptr: Any, *states: Any
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (*signals, *states[:2])]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: _Results) -> None:
    *tensors, ctx.segment = inputs
    ctx.save_for_backward(*tensors, *output[2:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    *signals, ptr, shallow, deep, deep_after, kept = ctx.saved_tensors
    if all(grad is None for grad in grads[:3]):
        return (None,) * 13
    to = _delta_memory_backward(*grads[:3], signals, ptr, shallow, deep, deep_after, kept, ctx.segment)
    *told, first, last = (grad if grad.numel() else None for grad in to)
    if not deep.shape[2]:
        told[5:7] = None, None
    return *told, None, first, last, None


_delta_memory.register_autograd(_differentiate, setup_context=_remember)


def _run(
    name: str,
    signals: tuple[Tensor, ...],
    ptr: Tensor,
    shallow: Tensor,
    deep: Tensor,
    segment: int,
    **others: Tensor,
) -> None:
    vectors = [rows_of(x) for x in signals[:3]]
    tensors = [*vectors, *(x.contiguous() for x in (*signals[3:], shallow, deep))]
    others = {"ptr": ptr.long().contiguous(), **others}
    _, heads, channels = signals[0].shape
    problem = _Problem(
        doubles=shallow.dtype == torch.float64,
        threads=torch.get_num_threads(),
        sets=len(ptr) - 1,
        heads=heads,
        channels=channels,
        slots=deep.shape[2],
        segment=segment,
        **{f"{of}_stride": x.stride(0) for of, x in zip(_TENSORS, vectors, strict=False)},
        **{of: x.data_ptr() for of, x in zip((*_TENSORS, *_STATES), tensors, strict=True)},
        **{of: x.data_ptr() for of, x in others.items()},
    )
    compiled.kernel(name)(ctypes.byref(problem))


def _macs(take: Tensor, read: Tensor, key: Tensor) -> tuple[int, int]:
    """Return how often a forward and a backward pass multiply and add."""
    tokens, heads, channels = key.shape
    square, shares = channels * channels, (int((x != 0).sum()) for x in (take, read))
    taken, given = shares
    forward = 3 * tokens * heads + 2 * taken + given
    # Once more forward without the outputs, then two for each.
    return square * forward, square * (2 * tokens * heads + 2 * taken + 2 * forward)


@register_flop_formula(torch.ops.structformer.delta_memory, get_raw=True)
def delta_memory_flops(query: Tensor, key: Tensor, *rest: Any, **_: Any) -> int:
    """Two for each entry of a state that is read or written to; slots that a token leaves alone do not count."""
    take, read = rest[5:7]
    return 2 * _macs(take, read, key)[0]


@register_flop_formula(torch.ops.structformer.delta_memory_backward, get_raw=True)
def delta_memory_backward_flops(
    grad_out: Any, grad_shallow: Any, grad_deep: Any, signals: list[Tensor], *_: Any, **__: Any
) -> int:
    """The same going back, where a part of the way forward is gone again."""
    return 2 * _macs(signals[7], signals[8], signals[1])[1]

"""How tensors are handed to the compiled kernels of attention, `fused_kernels.cpp`.

Tokens and edges come first in all tensors, heads inside.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops import compiled
from structformer.ops.large import empty

# Twice the α of each normaliser that the kernels know.
ALPHAS = {1.0: 2, 1.5: 3, 2.0: 4}
# Bytes of all keys above which what a row reads of its sources is asked for at once. Measured: 0.9 times as fast at
# 2 MiB, 1.0 at 4 MiB, 1.1 at 8 MiB, 1.4 at 512 MiB.
FAR = 4 << 20


class _Problem(ctypes.Structure):
    """The fields of `Problem` in `fused_kernels.cpp`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("doubles", "longs", "threads")),
        *((name, ctypes.c_int64) for name in ("rows", "edges", "heads", "channels", "values", "far")),
        *((name, ctypes.c_void_p) for name in ("rowptr", "col", "perm", "order", "start")),
        *((name, ctypes.c_void_p) for name in ("query", "key", "value")),
        *((name, ctypes.c_int64) for name in ("query_stride", "key_stride", "value_stride")),
        ("bias", ctypes.c_void_p),
        ("bias_heads", ctypes.c_int64),
        ("scale", ctypes.c_double),
        ("alpha", ctypes.c_int64),
        ("dropout", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("grad_weights", "weights", "scores", "out", "other")),
    ]


def scores(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    scale: float = 1.0,
) -> Float[Tensor, "edges heads"]:
    """Return scale · ⟨query_i, key_j⟩ of every edge."""
    query, key = rows_of(query), rows_of(key)
    out = empty(query, len(col), query.shape[1])
    _run(
        "scores",
        query,
        rowptr,
        col,
        heads=query.shape[1],
        channels=query.shape[2],
        query=query,
        key=key,
        scale=scale,
        scores=out,
    )
    return out


def sums(
    weights: Float[Tensor, "edges heads"],
    value: Float[Tensor, "sources heads values"],
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    scale: float = 1.0,
) -> Float[Tensor, "targets heads values"]:
    """Return scale · Σ_j weights_ij · value_j of every target."""
    value, weights = rows_of(value), weights.contiguous()
    out = empty(value, len(rowptr) - 1, *value.shape[1:])
    _run(
        "sums",
        value,
        rowptr,
        col,
        heads=value.shape[1],
        values=value.shape[2],
        value=value,
        scale=scale,
        weights=weights,
        out=out,
    )
    return out


def attend(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    value: Float[Tensor, "sources heads values"],
    bias: Tensor | None,
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    order: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
    seed: int,
) -> tuple[Float[Tensor, "targets heads values"], Float[Tensor, "edges heads"]]:
    """Return what targets hear, and the weights before dropout; ``bias`` is [edges, heads] or [edges, 1].

    Numbers of edges stand in the order of the graph. ``order`` is empty, or the order in which ``rowptr`` and ``col``
    hold the rows, [targets], and where the numbers of each begin, [targets]; ``transpose`` holds columns in it too.
    """
    query, key, value = rows_of(query), rows_of(key), rows_of(value)
    bias = None if bias is None else bias.contiguous()
    out = empty(query, *query.shape[:2], value.shape[2])
    weights = empty(query, len(col), query.shape[1])
    _run(
        "attend",
        query,
        rowptr,
        col,
        heads=query.shape[1],
        channels=query.shape[2],
        values=value.shape[2],
        query=query,
        key=key,
        value=value,
        bias=bias,
        bias_heads=0 if bias is None else bias.shape[1],
        scale=scale,
        alpha=ALPHAS[alpha],
        dropout=dropout,
        seed=seed,
        weights=weights,
        out=out,
        **_turns(order),
    )
    return out, weights


def attend_backward(
    grad_out: Float[Tensor, "targets heads values"] | None,
    grad_weights: Float[Tensor, "edges heads"] | None,
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    value: Float[Tensor, "sources heads values"],
    weights: Float[Tensor, "edges heads"],
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    transpose: list[Tensor],
    order: list[Tensor],
    scale: float,
    alpha: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scores, given those of the two results of `attend`."""
    query, key, value = rows_of(query), rows_of(key), rows_of(value)
    grad_out = None if grad_out is None else rows_of(grad_out)
    grad_weights = None if grad_weights is None else grad_weights.contiguous()
    grad_scores, grad_query, grad_key, grad_value = (empty(x, *x.shape) for x in (weights, query, key, value))
    shared: dict[str, Any] = {
        "heads": query.shape[1],
        "channels": query.shape[2],
        "values": value.shape[2],
        "scale": scale,
        "alpha": ALPHAS[alpha],
        "dropout": dropout,
        "seed": seed,
        "weights": weights,
        "scores": grad_scores,
    }
    _run(
        "attend_backward_rows",
        query,
        rowptr,
        col,
        query=grad_out,
        key=key,
        value=value,
        grad_weights=grad_weights,
        out=grad_query,
        **_turns(order),
        **shared,
    )
    rowptr_t, row_t, perm = transpose
    _run(
        "attend_backward_columns",
        query,
        rowptr_t,
        row_t,
        perm=perm,
        **_turns(order[:1]),
        key=query,
        value=grad_out,
        out=grad_key,
        other=grad_value,
        **shared,
    )
    return grad_query, grad_key, grad_value, grad_scores


def dropout_factors(
    like: Float[Tensor, "edges heads"], dropout: float, seed: int
) -> Float[Tensor, "edges heads"]:
    """Return what dropout multiplies the weights of `attend` by: zero, or 1 / (1 − dropout)."""
    weights = torch.ones_like(like, memory_format=torch.contiguous_format)
    problem = _Problem(
        doubles=weights.dtype == torch.float64,
        threads=torch.get_num_threads(),
        edges=weights.shape[0],
        heads=weights.shape[1],
        weights=weights.data_ptr(),
        dropout=dropout,
        seed=seed,
    )
    compiled.kernel("drop")(ctypes.byref(problem))
    return weights


def rows_of(x: Tensor) -> Tensor:
    """Return a tensor whose tokens each lie in one stretch of memory, nothing copied if they do already."""
    heads, channels = x.shape[1:]
    fits = x.stride(2) == 1 and x.stride(1) == channels and x.stride(0) >= heads * channels
    return x if fits else x.contiguous()


def _turns(order: list[Tensor]) -> dict[str, Tensor]:
    return dict(zip(("order", "start"), order, strict=False))


def _run(kernel: str, like: Tensor, rowptr: Tensor, col: Tensor, **fields: Any) -> None:
    """Call a kernel with tensors for pointers; where rows may be apart, with their distance too."""
    for name in ("query", "key", "value"):
        x = fields.get(name)
        if x is not None:
            fields[f"{name}_stride"] = x.stride(0)
            fields["far"] = fields.get("far", False) or x.nbytes > FAR
    problem = _Problem(
        doubles=like.dtype == torch.float64,
        longs=rowptr.dtype == torch.int64,
        threads=torch.get_num_threads(),
        rows=len(rowptr) - 1,
        edges=len(col),
        rowptr=rowptr.data_ptr(),
        col=col.data_ptr(),
        **{name: x.data_ptr() if isinstance(x, Tensor) else x for name, x in fields.items() if x is not None},
    )
    compiled.kernel(kernel)(ctypes.byref(problem))

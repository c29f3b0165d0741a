"""Fused softmax attention over CSR rows on the GPU: host side of the Triton kernels.

Forward keeps nothing an edge; backward computes the weights again from the rows' `lse`, once along the rows
(query, bias) and once along the columns (key, value). Without atomics, so results repeat bit for bit.
Products and sums are taken in float32, or in float64 where any input is.

Triton is imported by the first call, not by this module. With TRITON_INTERPRET=1, set before that, its
interpreter runs the kernels on tensors of the CPU: slowly, which is good for tests alone.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache, reduce
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Heads share a program while they have this many channels together: 512 bytes in a row in float32.
WIDTH = 128
# Of each tile every thread holds this many numbers, which leaves the backward pass of four tiles enough
# registers for 16 warps a multiprocessor. A tile is this large unless the rows or vectors say otherwise.
SHARE, TILE = 16, 2048


def available(*tensors: Tensor) -> bool:
    """Return whether the kernels can serve these tensors.

    They need triton, floating point tensors on one GPU of compute capability 8.0 or newer, or, on whatever
    device, Triton's interpreter.
    """
    if not _installed() or any(x.dtype not in DTYPES for x in tensors):
        return False
    if interpreted():
        return True
    devices = {x.device for x in tensors}
    return len(devices) == 1 and all(
        x.type == "cuda" and torch.cuda.get_device_capability(x) >= (8, 0) for x in devices
    )


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


@cache
def interpreted() -> bool:
    """Return whether Triton's interpreter runs the kernels; decided once a process, as in triton."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def forward(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    value: Float[Tensor, "sources heads values"],
    bias: Float[Tensor, "edges *heads"] | None,
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
) -> tuple[Float[Tensor, "targets heads values"], Float[Tensor, "targets heads"]]:
    """Attend along the edges: a_ij = softmax_{j in row i}(scale · ⟨q_i, k_j⟩ + bias_ij), out_i = Σ_j a_ij v_j.

    Tensors that are not contiguous are copied.

    Args:
        query: One vector a target and head.
        key: One vector a source and head.
        value: One vector a source and head, of any number of channels.
        bias: Added to the scores, `[edges]` or `[edges, 1]` for all heads or `[edges, heads]`; −inf removes
            an edge.
        rowptr: Where each target's edges begin, int32 or int64.
        col: Source of each edge, int32 or int64.
        scale: Factor on the products.
        dropout: Probability with which a weight is set to zero, the others being scaled up.
        seed: Says, with an edge's position and the head, which weights that befalls.

    Returns:
        `out` in the type of the query, zeros for a target without edges, and `lse`, the logarithm of each
        row's sum of exp(score) in the type computed in, −inf for a target without edges.

    Raises:
        ValueError: If shapes do not fit each other, or dropout or seed is out of range.
    """
    problem = _Problem(query, key, value, bias, scale, dropout, seed)
    out = query.new_empty(*query.shape[:2], value.shape[2])
    lse = query.new_empty(query.shape[:2], dtype=problem.dtype)
    problem.launch("forward_kernel", rowptr, col, out=out, lse=lse)
    return out, lse


def backward(
    grad_out: Float[Tensor, "targets heads values"],
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    value: Float[Tensor, "sources heads values"],
    bias: Float[Tensor, "edges *heads"] | None,
    out: Float[Tensor, "targets heads values"],
    lse: Float[Tensor, "targets heads"],
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    rowptr_t: Int[Tensor, "source_pointers"],
    row_t: Int[Tensor, "edges"],
    perm: Int[Tensor, "edges"],
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
    need_bias: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of query, key, value and bias, each in its tensor's shape and type.

    Args:
        grad_out: Gradient of `out`.
        query: As in `forward`, like key, value, bias, rowptr, col, scale, dropout and seed.
        key: See query.
        value: See query.
        bias: See query.
        out: First result of `forward`.
        lse: Second result of `forward`.
        rowptr: See query.
        col: See query.
        rowptr_t: Where each source's edges begin in the transposed pattern (`TokenGraph.transpose`).
        row_t: Target of each edge in that order.
        perm: Position of each edge of that order in the order of `col`.
        scale: See query.
        dropout: See query.
        seed: See query.
        need_bias: Whether the bias' gradient is wanted; None is returned for it otherwise.

    Raises:
        ValueError: If shapes do not fit each other, or dropout or seed is out of range.
    """
    problem = _Problem(query, key, value, bias, scale, dropout, seed)
    grad_query, grad_key, grad_value = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)
    )
    parts = problem.parts(bias) if bias is not None and need_bias else None
    given = {"grad_out": grad_out, "lse": lse, "delta": lse.new_empty(lse.shape)}
    problem.launch("rows_kernel", rowptr, col, **given, out=out, grad_query=grad_query, grad_bias=parts)
    problem.launch(
        "columns_kernel", rowptr_t, row_t, **given, perm=perm, grad_key=grad_key, grad_value=grad_value
    )
    if bias is None or parts is None:
        return grad_query, grad_key, grad_value, None
    grad_bias = parts if problem.bias_columns > 1 else parts.sum(1)
    return grad_query, grad_key, grad_value, grad_bias.view(bias.shape).to(bias.dtype)


def weights(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    bias: Float[Tensor, "edges *heads"] | None,
    lse: Float[Tensor, "targets heads"],
    rowptr: Int[Tensor, "pointers"],
    col: Int[Tensor, "edges"],
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "edges heads"]:
    """Return the weight of every edge and head, in the type of the query, as `forward` used them.

    Args:
        query: As in `forward`, like key, bias, rowptr, col, scale, dropout and seed.
        key: See query.
        bias: See query.
        lse: Second result of `forward`.
        rowptr: See query.
        col: See query.
        scale: See query.
        dropout: See query; 0 for the weights before dropout.
        seed: See query.

    Raises:
        ValueError: If shapes do not fit each other, or dropout or seed is out of range.
    """
    problem = _Problem(query, key, None, bias, scale, dropout, seed)
    out = query.new_empty(col.numel(), query.shape[1])
    problem.launch("weights_kernel", rowptr, col, lse=lse, weights=out)
    return out


@dataclass(frozen=True)
class _Problem:
    """What every kernel is told, whichever way it walks the edges."""

    query: Tensor
    key: Tensor
    value: Tensor | None
    bias: Tensor | None
    scale: float
    dropout: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2**63) (got {self.seed})")
        if self.query.shape[1:] != self.key.shape[1:]:
            raise ValueError(
                "query and key must agree in heads and channels "
                f"(got {list(self.query.shape[1:])} and {list(self.key.shape[1:])})"
            )
        if self.value is not None and self.value.shape[:2] != self.key.shape[:2]:
            raise ValueError(
                "key and value must agree in sources and heads "
                f"(got {list(self.key.shape[:2])} and {list(self.value.shape[:2])})"
            )
        if self.bias is not None and tuple(self.bias.shape[1:]) not in ((), (1,), (self.query.shape[1],)):
            raise ValueError(
                f"bias must be [edges] or [edges, heads] with {self.query.shape[1]} heads "
                f"(got {list(self.bias.shape)})"
            )

    @property
    def dtype(self) -> torch.dtype:
        """The type to compute in."""
        given = [x.dtype for x in (self.query, self.key, self.value, self.bias) if x is not None]
        return reduce(torch.promote_types, given, torch.float32)

    @property
    def values(self) -> int:
        """Channels of the values."""
        return 0 if self.value is None else self.value.shape[2]

    @property
    def bias_columns(self) -> int:
        """0 without a bias, 1 for one that the heads share, else the number of heads."""
        return 0 if self.bias is None else self.bias.shape[1] if self.bias.ndim == 2 else 1

    @property
    def width(self) -> int:
        """Channels of one head's tile."""
        return max(_power(self.query.shape[2]), _power(self.values))

    @property
    def block_heads(self) -> int:
        """Heads in one program."""
        return min(_power(self.query.shape[1]), max(1, WIDTH // self.width))

    def parts(self, bias: Tensor) -> Tensor:
        """Room for the bias' gradient: a column a head, or a shared bias' sum for every block of heads."""
        blocks = math.ceil(self.query.shape[1] / self.block_heads)
        columns = self.bias_columns if self.bias_columns > 1 else blocks
        return bias.new_empty(bias.shape[0], columns, dtype=self.dtype)

    def launch(self, name: str, rowptr: Tensor, col: Tensor, **tensors: Tensor | None) -> None:
        """Run a kernel for every row of a pattern."""
        rows, (heads, channels) = rowptr.numel() - 1, self.query.shape[1:]
        if rows == 0 or heads == 0:
            return
        from structformer.ops import triton_kernels

        kernel: Any = getattr(triton_kernels, name)
        tensors |= {"query": self.query, "key": self.key, "value": self.value, "bias": self.bias}
        tensors |= {"rowptr": rowptr, "col": col}
        block = min(128, max(8, min(TILE // (self.block_heads * self.width), _power(col.numel() // rows))))
        arguments = {name: None if x is None else x.contiguous() for name, x in tensors.items()} | {
            "scale": self.scale,
            "kept": 1 - self.dropout,
            "seed": self.seed,
            "H": heads,
            "C": channels,
            "V": self.values,
            "BIAS": self.bias_columns,
            "DROPOUT": self.dropout > 0,
            "BLOCK_E": block,
            "BLOCK_H": self.block_heads,
            "BLOCK_C": _power(channels),
            "BLOCK_V": _power(self.values),
        }
        numbers = block * self.block_heads * self.width
        warps = min(16, max(1, numbers // (32 * SHARE)))
        # Triton launches on the current GPU, whichever one the tensors are on.
        with torch.cuda.device_of(self.query):
            kernel[(rows, math.ceil(heads / self.block_heads))](
                **{name: arguments[name] for name in kernel.arg_names}, num_warps=warps
            )


def _power(size: int) -> int:
    """The least power of two that is no less, and at least 1."""
    return 1 << max(0, size - 1).bit_length()

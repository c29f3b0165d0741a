"""Reductions over the rows of a CSR matrix: sum, largest, and their inverse, gather.

Row i owns the entries rowptr[i]:rowptr[i + 1], so `rowptr` has one pointer more than there are rows.
Rows may be empty.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.backend import torch_scatter, uses_scatter


def segment_sum(
    src: Float[Tensor, "edges *features"], rowptr: Int[Tensor, "pointers"]
) -> Float[Tensor, "pointers-1 *features"]:
    """Return Σ of each row's entries; zeros for an empty row.

    Raises:
        ValueError: If `rowptr` does not describe `src`.
    """
    check_rowptr(src, rowptr)
    return _Sum.apply(src, rowptr)


def segment_max(
    src: Float[Tensor, "edges *features"], rowptr: Int[Tensor, "pointers"]
) -> Float[Tensor, "pointers-1 *features"]:
    """Return the largest of each row's entries; zeros for an empty row.

    Entries that share the largest value share its gradient equally.

    Raises:
        ValueError: If `rowptr` does not describe `src`.
    """
    check_rowptr(src, rowptr)
    return _Max.apply(src, rowptr)


def gather(
    src: Float[Tensor, "rows *features"], rowptr: Int[Tensor, "pointers"]
) -> Float[Tensor, "edges *features"]:
    """Return every row's value once for each of its entries: out[e] = src[row of e].

    Raises:
        ValueError: If `src` has not as many rows as `rowptr` describes.
    """
    if rowptr.ndim != 1 or rowptr.numel() != src.shape[0] + 1:
        raise ValueError(
            f"rowptr must have one entry more than src has rows "
            f"(got {list(rowptr.shape)} for {src.shape[0]} rows)"
        )
    return _Gather.apply(src, rowptr)


def check_rowptr(src: Tensor, rowptr: Tensor) -> None:
    """Raise ValueError unless `rowptr` ends where `src` ends (a glance, not a full check)."""
    if rowptr.ndim != 1 or rowptr.numel() == 0:
        raise ValueError(f"rowptr must be [rows + 1], at least [0] (got shape {list(rowptr.shape)})")
    # Reading a value off a GPU would stall it, so only the CPU looks.
    if rowptr.device.type == "cpu" and int(rowptr[-1]) != src.shape[0]:
        raise ValueError(f"rowptr must end at the number of entries, {src.shape[0]} (got {int(rowptr[-1])})")


def row_index(rowptr: Int[Tensor, "pointers"], num_edges: int) -> Int[Tensor, "edges"]:
    """Return the row of each entry."""
    rows = torch.arange(rowptr.numel() - 1, device=rowptr.device)
    return torch.repeat_interleave(rows, rowptr.diff(), output_size=num_edges)


def reduce_rows(src: Tensor, rowptr: Tensor, reduce: str, dim: int = 0) -> Tensor:
    """Reduce ("sum" or "max") along `dim` by torch alone, outside autograd; empty rows give zeros."""
    if src.shape[dim] == 0 or src.numel() == 0:
        shape = list(src.shape)
        shape[dim] = rowptr.numel() - 1
        return src.new_zeros(shape)
    offsets = rowptr.expand(*src.shape[:dim], -1).contiguous()
    out = torch.segment_reduce(src.contiguous(), reduce, offsets=offsets, axis=dim, unsafe=True, initial=None)
    if reduce == "max":
        empty = (rowptr.diff() == 0).view(-1, *[1] * (src.ndim - dim - 1))
        out = out.masked_fill(empty, 0.0)
    return out


# Each of the two is the other's derivative, so both can be differentiated any number of times.
class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, rowptr: Tensor) -> Tensor:
        ctx.save_for_backward(rowptr)
        # Only sums of whole rows go to torch-scatter. Its maximum turns −inf into the lowest finite number
        # and overlooks nan, and along a later dimension torch's own reduction takes half the time.
        if src.numel() and uses_scatter() and torch_scatter is not None:
            return torch_scatter.segment_csr(src, rowptr, reduce="sum")
        return reduce_rows(src, rowptr, "sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rowptr,) = ctx.saved_tensors
        return _Gather.apply(grads[0], rowptr), None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, rowptr: Tensor) -> Tensor:
        ctx.save_for_backward(rowptr)
        return src.index_select(0, row_index(rowptr, int(rowptr[-1])))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rowptr,) = ctx.saved_tensors
        return _Sum.apply(grads[0], rowptr), None


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, src: Tensor, rowptr: Tensor) -> Tensor:
        out = reduce_rows(src, rowptr, "max")
        ctx.save_for_backward(src, out, rowptr)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        src, out, rowptr = ctx.saved_tensors
        largest = (src == gather(out, rowptr)).to(src.dtype)
        share = grads[0] / segment_sum(largest, rowptr).clamp(min=1)
        return gather(share, rowptr) * largest, None

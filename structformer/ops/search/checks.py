"""What vectors, boundaries and graphs a search takes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.segment import row_index


def check_vectors(
    query: Tensor, key: Tensor, k: int, ptr: Tensor | None, key_ptr: Tensor | None, own: bool
) -> tuple[Tensor, Tensor]:
    """Check vectors and boundaries; return both boundaries."""
    if k < 0:
        raise ValueError(f"k must not be negative (got {k})")
    if query.ndim != 2 or key.ndim != 2 or query.shape[1] != key.shape[1] or query.dtype != key.dtype:
        raise ValueError(
            "query and key must be [tokens, affinity] of the same affinity and type "
            f"(got {query.dtype} {list(query.shape)} and {key.dtype} {list(key.shape)})"
        )
    if key_ptr is None:
        key_ptr = ptr
    elif ptr is None and key_ptr.numel() != 2:
        raise ValueError(f"key_ptr has {key_ptr.numel() - 1} sets, but without ptr there is 1")
    ptr = _check_ptr("ptr", ptr, query)
    key_ptr = _check_ptr("key_ptr", key_ptr, key)
    if ptr.numel() != key_ptr.numel():
        raise ValueError(
            f"ptr and key_ptr must have as many sets (got {ptr.numel() - 1} and {key_ptr.numel() - 1})"
        )
    if own and not torch.equal(ptr, key_ptr):
        raise ValueError(
            "causal, include_self and exclude_self need sources that are the targets: "
            "as many, in the same sets"
        )
    return ptr, key_ptr


def tame(name: str, x: Tensor) -> Tensor:
    """Bring vectors to a type and size whose products do not overflow; the order of products stays."""
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    if not x.numel():
        return x
    largest = max(abs(float(bound)) for bound in x.aminmax())
    if not math.isfinite(largest):
        token = int((~x.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite (token {token} is not)")
    # Scaling by a power of two rounds nothing.
    return x / 2.0 ** (math.frexp(largest)[1] - 1) if largest > 1e12 else x


def _check_ptr(name: str, ptr: Tensor | None, x: Tensor) -> Tensor:
    if ptr is None:
        return torch.tensor([0, x.shape[0]], device=x.device)
    if ptr.ndim != 1 or not ptr.numel() or int(ptr[0]) != 0 or int(ptr[-1]) != x.shape[0]:
        raise ValueError(f"{name} must run from 0 to the number of tokens, {x.shape[0]} (got {ptr.tolist()})")
    if bool((ptr.diff() < 0).any()):
        raise ValueError(f"{name} must not fall (got {ptr.tolist()})")
    return ptr


def check_edges(name: str, graph: TokenGraph, ptr: Tensor, key_ptr: Tensor) -> None:
    """Raise ValueError unless a graph is over the same tokens and stays inside their sets."""
    num_targets, num_sources = int(ptr[-1]), int(key_ptr[-1])
    if (graph.num_targets, graph.num_sources) != (num_targets, num_sources):
        raise ValueError(
            f"{name} must have {num_targets} targets and {num_sources} sources "
            f"(got {graph.num_targets} and {graph.num_sources})"
        )
    if ptr.numel() > 2:
        row, col = graph.row, graph.col
        crossing = row_index(ptr, num_targets)[row] != row_index(key_ptr, num_sources)[col]
        if bool(crossing.any()):
            edge = int(crossing.nonzero()[0])
            raise ValueError(f"{name} edge {int(col[edge])} → {int(row[edge])} joins two sets")

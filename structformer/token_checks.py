"""What a TokenSet built from outside data is checked for."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from structformer.tokens import TokenSet


def check_fields(tokens: "TokenSet") -> None:
    """Raises a ValueError that names the first thing wrong with the fields."""
    x, ptr, edge_index = tokens.x, tokens["ptr"], tokens.edge_index
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.dtype.is_floating_point:
        got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a float tensor [tokens, features] (got {got})")
    total = x.shape[0]
    if ptr.ndim != 1 or ptr.dtype != torch.long or ptr.numel() == 0:
        raise ValueError(f"ptr must be a vector of int64 (got {ptr.dtype} of shape {list(ptr.shape)})")
    ends = (int(ptr[0]), int(ptr[-1]))
    if ends != (0, total) or bool((ptr.diff() < 0).any()):
        raise ValueError(f"ptr must rise from 0 to the number of tokens, {total} (got {ptr.tolist()})")
    if not torch.isfinite(x).all():
        token, feature = (~torch.isfinite(x)).nonzero()[0].tolist()
        where = f"token {token} of set {int(tokens.set_index[token])}, feature {feature}"
        raise ValueError(f"x must be finite ({where} is {float(x[token, feature])})")
    if edge_index is not None:
        _check_edges(edge_index, total, tokens.set_index)
    edges = None if edge_index is None else edge_index.shape[1]
    counts = {"token": total, "set": tokens.num_sets, "edge": edges}
    for key in ("token_type", "code"):
        value = tokens._store.get(key)
        if value is not None and value.dtype != torch.long:
            raise ValueError(f"{key} must be int64 (got {value.dtype})")
    for key, value in dict(tokens).items():
        level = tokens._level(key)
        if key in ("x", "edge_index") or level == "batch":
            continue
        if counts[level] is None:
            raise ValueError(f"edge_index must be given with {key} (got None)")
        if len(value) != counts[level]:
            also = f" or set ({counts['set']})" if key == "y" else ""
            raise ValueError(
                f"{key} must have one row for each {level} ({counts[level]}){also} (got {len(value)})"
            )


def _check_edges(edge_index: Tensor, total: int, set_index: Tensor) -> None:
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.long:
        got = f"{edge_index.dtype} of shape {list(edge_index.shape)}"
        raise ValueError(f"edge_index must be int64 [2, edges] (got {got})")
    outside = ((edge_index < 0) | (edge_index >= total)).nonzero()
    if outside.numel():
        end, edge = outside[outside[:, 1].argmin()].tolist()
        raise ValueError(
            f"edge_index: edge {edge} names token {int(edge_index[end, edge])}, but there are {total}"
        )
    source, target = set_index[edge_index]
    crossing = (source != target).nonzero()
    if crossing.numel():
        edge = int(crossing[0])
        ends = f"a token of set {int(source[edge])} to one of set {int(target[edge])}"
        raise ValueError(f"edge_index: edge {edge} joins {ends}; edges must stay in one set")

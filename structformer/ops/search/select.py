"""Selecting and sorting in short rows, by whichever of numpy and torch is faster."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from structformer.ops.search import limits

# Wide rows are cut into groups of this many places; only the groups with the largest maxima are ranked.
_GROUP = 64
_WIDE = 4096


def largest(scores: Shaped[Tensor, "sets rows places"], k: int) -> Int[Tensor, "sets rows k"]:
    """Return the places of the k largest scores of each row, in any order."""
    places = scores.shape[2]
    if places >= _WIDE and k * _GROUP <= places // 4:
        return _largest_of_wide(scores, k)
    if not prefers_numpy(scores):
        return scores.topk(k, sorted=False).indices
    rest = places - k
    return torch.from_numpy(np.argpartition(scores.numpy(), rest, axis=2)[..., rest:])


def _largest_of_wide(scores: Tensor, k: int) -> Tensor:
    """Rank only the k groups with the largest maxima: every one of the k largest lies in one of them."""
    places = scores.shape[2]
    whole = places // _GROUP * _GROUP
    groups = scores[..., :whole].unflatten(2, (-1, _GROUP))
    chosen = largest(groups.amax(3), k)
    inside = groups.gather(2, chosen[..., None].expand(-1, -1, -1, _GROUP)).flatten(2)
    candidates = torch.cat([inside, scores[..., whole:]], dim=2)
    best = candidates.topk(k, sorted=False).indices
    group = chosen.gather(2, (best // _GROUP).clamp(max=k - 1))
    return torch.where(best < k * _GROUP, group * _GROUP + best % _GROUP, best - k * _GROUP + whole)


def ascending(x: Shaped[Tensor, "rows places"]) -> Shaped[Tensor, "rows places"]:
    """Sort each row."""
    return torch.from_numpy(np.sort(x.numpy(), axis=1)) if prefers_numpy(x) else x.sort(dim=1).values


def upper(x: Shaped[Tensor, "rows places"], k: int) -> Shaped[Tensor, "rows k"]:
    """Return the k largest values of each row, in any order."""
    if not prefers_numpy(x):
        return x.topk(k, sorted=False).values
    rest = x.shape[1] - k
    return torch.from_numpy(np.partition(x.numpy(), rest, axis=1)[:, rest:].copy())


def order(x: Shaped[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Return the order that sorts x; equal entries keep theirs."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.argsort(x.numpy(), kind="stable"))
    return x.argsort(stable=True)


def prefers_numpy(x: Tensor) -> bool:
    """Tell whether numpy selects faster in rows like these."""
    # numpy selects and sorts short rows with vector instructions, 3 to 6 times faster than torch does
    # in one thread; torch shares the rows among threads, and is as fast on long rows.
    few = torch.get_num_threads() <= limits.FEW_THREADS
    return x.device.type == "cpu" and x.shape[-1] <= 1024 and few

"""Neighbour search in the efficiency benchmark: time and recall of each method beside exact search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer import ops
from structformer.graph import TokenGraph

from .efficiency_inputs import clustered_vectors, set_boundaries
from .efficiency_records import Record, record
from .measure import Step, interleaved, medians, refusal, timed

# The arms; a recall after the comma is asked of a method that can promise it, otherwise the usual one is.
METHODS = ("exact", "ivf", "ivf, recall 0.99", "lsh")


@dataclass(frozen=True)
class SearchSettings:
    """Sizes of the searches.

    Attributes:
        width: Dimensions of the vectors.
        tokens: Tokens of the one set in which all methods search.
        neighbors: Sources a token there.
        large_tokens: Tokens of a set too large for exact search; 0 leaves it out.
        large_neighbors: Sources a token there.
        sample: Targets of the large set for which exact search is done.
        sets: Small sets in one call.
        set_size: Tokens of each.
        set_neighbors: Sources a token there.
        repeats: Timed calls of a method, for each seed; the large set is searched once.
    """

    width: int = 32
    tokens: int = 65_536
    neighbors: int = 32
    large_tokens: int = 1_000_000
    large_neighbors: int = 16
    sample: int = 1_000
    sets: int = 4_096
    set_size: int = 64
    set_neighbors: int = 16
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.set_neighbors > self.set_size:
            raise ValueError(
                f"set_neighbors must be at most set_size, {self.set_size} (got {self.set_neighbors})"
            )


def search(settings: SearchSettings, seeds: int) -> list[Record]:
    """Return the records of all searches."""
    records = one_set(settings, seeds) + small_sets(settings, seeds)
    return records + (large_set(settings) if settings.large_tokens else [])


def one_set(settings: SearchSettings, seeds: int) -> list[Record]:
    """Search one set by every method there is; recall is the share of exact's edges that a method finds."""
    times: dict[str, list[float]] = {}
    recalls: dict[str, list[float]] = {}
    missing = refusals()
    there = [method for method in METHODS if method not in missing]
    for seed in range(seeds):
        x = vectors(settings.tokens, settings.width, seed)
        steps = {method: _search(x, settings.neighbors, method) for method in there}
        for method, found in interleaved(steps, settings.repeats).items():
            times.setdefault(method, []).extend(found)
        exact = ops.neighbors(x, x, settings.neighbors, method="exact")
        for method in there:
            graph = _search(x, settings.neighbors, method)()
            recalls.setdefault(method, []).append(recall(graph, exact))
    taken = medians(times)
    rows = [
        record(
            "search, one set",
            method,
            settings.tokens,
            milliseconds=taken[method],
            ratio=taken[method] / taken["exact"],
            recall=sum(recalls[method]) / seeds,
        )
        for method in there
    ]
    return rows + _left_out("search, one set", settings.tokens, missing)


def small_sets(settings: SearchSettings, seeds: int) -> list[Record]:
    """Search many small sets in one call, beside one padded product and topk (sets of one size: no padding)."""
    tokens = settings.sets * settings.set_size
    ptr = set_boundaries(tokens, settings.set_size)
    times: dict[str, list[float]] = {}
    for seed in range(seeds):
        x = vectors(tokens, settings.width, seed)
        steps: dict[str, Step] = {
            "exact": _search(x, settings.set_neighbors, "exact", ptr),
            "bmm + topk": lambda x=x: padded_search(x, settings.set_size, settings.set_neighbors),
        }
        for name, found in interleaved(steps, settings.repeats).items():
            times.setdefault(name, []).extend(found)
    taken = medians(times)
    return [
        record(
            "search, small sets", name, tokens, milliseconds=value, ratio=value / taken["exact"], recall=1.0
        )
        for name, value in taken.items()
    ]


def large_set(settings: SearchSettings) -> list[Record]:
    """Search a very large set once by the approximate methods; exact search of a sample tells their recall."""
    name, tokens, k = "search, large set", settings.large_tokens, settings.large_neighbors
    x = vectors(tokens, settings.width, seed=0)
    sample = torch.randperm(tokens, generator=torch.Generator().manual_seed(1))[: settings.sample]
    taken, exact = timed(lambda: ops.neighbors(x[sample], x, k, method="exact"))
    whole = taken * tokens / len(sample)
    note = f"time of {len(sample)} targets, scaled up"
    rows = [record(name, "exact", tokens, milliseconds=whole, ratio=1.0, recall=1.0, note=note)]
    missing = refusals()
    for method in (arm for arm in METHODS[1:] if ", " not in arm):
        if method not in missing:
            taken, found = timed(_search(x, k, method))
            share = recall(found, exact, sample)
            rows.append(record(name, method, tokens, milliseconds=taken, ratio=taken / whole, recall=share))
    return rows + _left_out(name, tokens, {arm: why for arm, why in missing.items() if ", " not in arm})


def padded_search(x: Float[Tensor, "tokens width"], size: int, k: int) -> Int[Tensor, "tokens k"]:
    """Search sets of one size by one batched product and topk: the rival where nothing needs padding."""
    sets = x.view(-1, size, x.shape[1])
    best = torch.bmm(sets, sets.mT).topk(k).indices
    first = torch.arange(0, x.shape[0], size)[:, None, None]
    return (best + first).flatten(0, 1)


def recall(graph: TokenGraph, exact: TokenGraph, targets: Int[Tensor, "some"] | None = None) -> float:
    """Return the share of the exact graph's edges that a graph has.

    Args:
        graph: What was found.
        exact: What there was to find, for all targets or for those named.
        targets: The targets of `graph` that are the rows of `exact`, in this order.
    """
    row, col = graph.row, graph.col
    if targets is not None:
        place = torch.full((graph.num_targets,), -1).index_copy_(0, targets, torch.arange(len(targets)))
        row = place[row]
        row, col = row[row >= 0], col[row >= 0]
    wanted = exact.row * exact.num_sources + exact.col
    return float(torch.isin(wanted, row * exact.num_sources + col).double().mean())


def refusals() -> dict[str, str]:
    """Return the methods that are not possible here, each with what the library says about it."""
    x = vectors(256, 4, seed=0)
    said = {method: refusal(_search(x, 3, method)) for method in METHODS}
    return {method: why for method, why in said.items() if why is not None}


def vectors(tokens: int, width: int, seed: int) -> Float[Tensor, "tokens width"]:
    """Draw clustered unit vectors."""
    return clustered_vectors(tokens, width, torch.Generator().manual_seed(seed))


def _search(x: Tensor, k: int, arm: str, ptr: Tensor | None = None) -> Callable[[], TokenGraph]:
    method, _, promised = arm.partition(", recall ")
    wanted = {"recall": float(promised)} if promised else {}
    return lambda: ops.neighbors(x, x, k, ptr, method=method, **wanted)


def _left_out(comparison: str, tokens: int, missing: Mapping[str, str]) -> list[Record]:
    return [record(comparison, method, tokens, note=f"left out: {why}") for method, why in missing.items()]

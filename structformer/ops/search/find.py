"""The search of a batch: every set by its method, and what an approximate method misses, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.search.choose import is_approximate, least_approximate, method_of_large
from structformer.ops.search.exact import Found, Search
from structformer.ops.search.ivf import ivf
from structformer.ops.search.lsh import lsh
from structformer.ops.search.parts import Parts, in_time
from structformer.ops.search.select import ascending


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes:
        method: "auto", "exact", "ivf", "lsh" or "warm".
        recall: What "ivf" must reach.
        start: The graph from which "warm" starts.
        rounds: Rounds along the graph of "lsh" and "warm"; None is as many as are usual.
        generator: Where random numbers come from.
        is_square: Whether sources are the targets, set by set.
    """

    method: str
    recall: float
    start: TokenGraph | None
    rounds: int | None
    generator: torch.Generator
    is_square: bool


def find(search: Search, options: Options) -> list[Found]:
    """Search all sets, which are the parts of `search`."""
    sizes = search.rows.diff()[:, 0], search.cols.diff()[:, 0]
    method = method_of_large(options.method, search.query.device.type, options.start is not None)
    approximate = is_approximate(options.method, method, *sizes, search.k, search.query.dtype)
    if not bool(approximate.any()):
        return search.run()
    exact = replace(search, rows=search.rows[~approximate], cols=search.cols[~approximate])
    large = replace(search, rows=search.rows[approximate], cols=search.cols[approximate])
    return exact.run() + _find_large(large, method, options)


def _find_large(search: Search, method: str, options: Options) -> list[Found]:
    rows, cols, found = search.rows, search.cols, list[Found]()
    if search.causal:
        early, rows, cols = in_time(rows, cols, least_approximate(search.k))
        found = replace(search, rows=early, cols=early).run()
    # Long or short vectors of double precision might leave the range of single precision.
    query, key = _unit(search.query), _unit(search.key)
    parts = Parts(query, key, rows, cols, search.k, search.causal, search.skip_self, options.is_square)
    if method == "ivf":
        source = ivf(parts, options.recall, options.generator)
    else:
        source = lsh(parts, options.start, options.rounds, options.generator)
    complete, missing = _fill_up(search, parts, source)
    return [*found, complete, *missing]


def _fill_up(search: Search, parts: Parts, source: Int[Tensor, "rows k"]) -> tuple[Found, list[Found]]:
    """Search exactly for the targets that found fewer sources than there are."""
    target, none = parts.targets(), len(parts.key)
    short = (source < none).sum(1) < parts.num_candidates()
    if search.add_self:
        source = torch.cat([source, target[:, None]], dim=1)
    source = ascending(source)
    if not bool(short.any()):
        return Found(target, source, (source < none).sum(1) if search.causal else None), []
    counts = torch.stack([part.sum() for part in short.split(parts.rows.diff()[:, 0].tolist())])
    ends = counts.cumsum(0)
    again = replace(
        search,
        query=search.query[target[short]],
        rows=torch.stack([ends - counts, ends], dim=1),
        cols=parts.cols,
        target=target[short],
    )
    target, source = target[~short], source[~short]
    return Found(target, source, (source < none).sum(1) if search.causal else None), again.run()


def _unit(x: Tensor) -> Tensor:
    """Bring the largest entry to about 1, in single precision."""
    largest = float(x.abs().max())
    return (x if largest == 0 else x / largest).float()

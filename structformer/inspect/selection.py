"""Which tokens of a large graph to draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from structformer.graph import TokenGraph


@dataclass(frozen=True, eq=False)
class Selection:
    """Tokens to draw.

    Attributes:
        targets: Positions of targets, ascending.
        sources: Positions of sources, ascending; empty where sources and targets are the same tokens.
        ptr: Boundaries of the drawn sets in ``targets``.
        note: What was left out, in words; empty if nothing was.
    """

    targets: Int[np.ndarray, "drawn"]
    sources: Int[np.ndarray, "drawn_sources"]
    ptr: list[int]
    note: str = ""


def select(
    graph: TokenGraph, most: int, token: str = "token", seed: int = 0, most_sets: int = 24
) -> Selection:
    """Choose at most ``most`` tokens such that their graph is still a picture of the whole.

    Of several sets, the first ones are drawn whole, at most ``most_sets``. Of a single large set, and of a
    bipartite graph, a third is drawn at random and the rest are the tokens that those listen to most: tokens
    all drawn at random would share hardly any edge.
    """
    none = np.zeros(0, dtype=np.int64)
    count = graph.num_targets
    everyone = np.arange(count)
    if graph.is_bipartite:
        weights = _mean_matrix(graph)
        heard = np.flatnonzero(np.asarray(weights.sum(0)).ravel() > 0)
        if count + len(heard) <= most:
            return Selection(everyone, heard, [0, count])
        targets = _draw(count, max(most // 3, most - len(heard)), seed)
        sources = _loudest(weights, targets, heard, most - len(targets))
        note = f"{len(targets)} of {count:,} {token}s drawn, with the {len(sources)} they listen to most."
        return Selection(targets, sources, [0, len(targets)], note)
    ptr = [0, count] if graph.ptr is None else [int(end) for end in graph.ptr]
    if count <= most and len(ptr) - 1 <= most_sets:
        return Selection(everyone, none, ptr)
    whole = sum(end <= most for end in ptr[1 : most_sets + 1])
    if whole:
        note = f"The first {whole} of {len(ptr) - 1:,} sets drawn."
        return Selection(everyone[: ptr[whole]], none, ptr[: whole + 1], note)
    size = ptr[1]
    heads = _draw(size, most // 3, seed)
    rest = np.setdiff1d(np.arange(size), heads)
    targets = np.sort(np.concatenate([heads, _loudest(_mean_matrix(graph), heads, rest, most - len(heads))]))
    where = "" if len(ptr) == 2 else " of the first set"
    note = (
        f"{len(targets)} of {size:,} {token}s{where} drawn: "
        f"{len(heads)} at random and those they listen to most."
    )
    return Selection(targets, none, [0, len(targets)], note)


def _draw(count: int, size: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(count, size=min(count, size), replace=False))


def _loudest(weights: sp.csr_matrix, targets: np.ndarray, among: np.ndarray, most: int) -> np.ndarray:
    total = np.asarray(weights[targets].sum(0)).ravel()[among]
    order = np.argsort(-total, kind="stable")[:most]
    return np.sort(among[order[total[order] > 0]])


def _mean_matrix(graph: TokenGraph) -> sp.csr_matrix:
    """The weights of all steps, averaged over heads and steps: [targets, sources]."""
    matrices: list[Any] = [step.to_scipy() for step in graph.steps]
    return sp.csr_matrix(reduce(lambda total, matrix: total + matrix, matrices) / len(matrices))

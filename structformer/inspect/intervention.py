"""Interventions: what a network says when the graphs that it learns are changed on their way to attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.soes import SOES

Edit = Callable[[TokenGraph], TokenGraph]
"""Makes another graph of a learned one, over the same tokens."""


@contextmanager
def edited(layers: Iterable[SOES], edit: Edit) -> Generator[None]:
    """Replace, while the context lasts, every graph that the layers learn by what ``edit`` makes of it.

    Where a model weighs the edges of an earlier step anew, it weighs those that were there before the edit, so that
    every step's graph is edited once and by its own weights.
    """
    # What was edited, under the identity of its edges; holding both keeps identities from being used again.
    whole: dict[int, tuple[TokenGraph, TokenGraph]] = {}

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        topology = kwargs.get("topology")
        if topology is not None and id(topology.col) in whole:
            kwargs = {**kwargs, "topology": whole[id(topology.col)][1]}
        return args, kwargs

    def after(_: nn.Module, args: tuple[Any, ...], graph: TokenGraph) -> TokenGraph:
        changed = edit(graph)
        whole[id(changed.col)] = changed, graph.with_weight(None)
        return changed

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(layer.register_forward_hook(after).remove)
        yield


def strongest(
    graph: TokenGraph, score: Float[Tensor, "edges"], share: float, loops: bool = False
) -> Bool[Tensor, "edges"]:
    """Return which edges have the largest scores of all, ⌈share · edges⌉ of them.

    Args:
        graph: The edges.
        score: One number an edge, at least 0; of equal ones the first counts as the larger.
        share: Of the edges.
        loops: Whether a token's edge to itself counts; otherwise it is never among them.
    """
    free = torch.ones_like(graph.row, dtype=torch.bool) if loops else graph.row != graph.col
    order = torch.argsort(score.masked_fill(~free, -1), descending=True, stable=True)
    found = torch.zeros_like(free)
    found[order[: math.ceil(share * int(free.sum()))]] = True
    return found


def without(graph: TokenGraph, removed: Bool[Tensor, "edges"]) -> TokenGraph:
    """Return the graph without some edges; the weights of those left into a token sum to what they all did before."""
    assert graph.weight is not None
    kept = removed.logical_not()
    before = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.cumsum(0)])
    weight = graph.weight * kept
    total, left = (
        weight.new_zeros(graph.num_targets).index_add(0, graph.row, w) for w in (graph.weight, weight)
    )
    scale = torch.where(left > 0, total / torch.where(left > 0, left, 1), 0)
    return TokenGraph(
        rowptr=before[graph.rowptr],
        col=graph.col[kept],
        num_sources=graph.num_sources,
        weight=(weight * scale[graph.row])[kept],
        given=None if graph.given is None else graph.given[kept],
        source_names=graph.source_names,
        ptr=graph.ptr,
    )

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

Seen = list[list[TokenGraph]]
"""The graphs that layers learned, in order: a list for each time that a network was asked."""
Edit = Callable[[int, int, TokenGraph], TokenGraph]
"""Makes another graph of a learned one, over the same tokens; the numbers are its place in what was seen."""


@contextmanager
def recorded(networks: Iterable[nn.Module], layers: Iterable[SOES]) -> Generator[Seen]:
    """Collect, while the context lasts, the graphs that the layers of the networks learn."""
    seen: Seen = []

    def begin(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append([])

    def keep(_: nn.Module, args: tuple[Any, ...], graph: TokenGraph) -> None:
        seen[-1].append(graph)

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_pre_hook(begin).remove)
        for layer in layers:
            stack.callback(layer.register_forward_hook(keep).remove)
        yield seen


@contextmanager
def edited(networks: Iterable[nn.Module], layers: Iterable[SOES], seen: Seen, edit: Edit) -> Generator[None]:
    """Replace, while the context lasts, every graph that the layers learn by what ``edit`` makes of it.

    The networks are to be asked for the same as when the graphs were `recorded`. Their layers search no edges, for
    states that have changed would find others, but weigh those that were seen; a step that is taken only because of
    the edit weighs those of the last step.
    """
    call = step = -1

    def begin(_: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal call, step
        call, step = call + 1, -1

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        nonlocal step
        step = min(step + 1, len(seen[call]) - 1)
        known, topology = seen[call][step], kwargs.get("topology")
        # The data's own topology may have weights and is kept; one of an earlier, edited step has lost its edges.
        if topology is None or topology.num_edges != known.num_edges:
            kwargs = {**kwargs, "topology": known.with_weight(None)}
        return args, kwargs

    def after(_: nn.Module, args: tuple[Any, ...], graph: TokenGraph) -> TokenGraph:
        return edit(call, step, graph)

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_pre_hook(begin).remove)
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

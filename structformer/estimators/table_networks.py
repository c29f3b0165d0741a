"""The networks of a table estimator: what they remember of the training rows, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from structformer.estimators.rows import batches_of_rows
from structformer.graph import TokenGraph
from structformer.models.table import RowMemory, TableModel, TableOutput
from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet

Said = list[TableOutput]
"""What each network says of the same rows."""


def remember(
    network: TableModel,
    cells: TokenSet,
    columns: Sequence[Column],
    labels: Float[Tensor, "rows features"],
) -> RowMemory:
    """Return training rows as ``network`` sees them, beside their targets."""
    like = network.head.weight
    with torch.no_grad():
        states = [network.read(part)[1] for part in batches_of_rows(cells, columns, like)]
        return RowMemory(torch.cat(states), labels.to(like.device))


def ask(
    networks: Sequence[TableModel],
    cells: TokenSet,
    columns: Sequence[Column],
    memories: Sequence[RowMemory],
) -> Iterator[Said]:
    """Yield what each network says of the rows, a batch of bounded size at a time."""
    with torch.no_grad():
        for part in batches_of_rows(cells, columns, networks[0].head.weight):
            yield [network(part, memory=memory) for network, memory in zip(networks, memories, strict=True)]


def mean_outputs(said: Sequence[Said]) -> Float[Tensor, "rows outputs"]:
    """Return the outputs of all batches, averaged over the networks."""
    return torch.cat([torch.stack([out.outputs for out in outs]).mean(0) for outs in said])


def mean_row_graphs(outs: Said) -> list[TokenGraph]:
    """Return for each row step the graph of one batch, its weights averaged over the networks."""
    return [_mean_graph(graphs) for graphs in zip(*(out.row_graphs for out in outs), strict=True)]


def mean_column_weights(outs: Said, columns: int) -> Float[Tensor, "columns columns"]:
    """Return the weight from each column (second axis) to each (first axis) in the last cell step.

    It is summed over the rows and averaged over the networks.
    """
    total = torch.zeros(columns * columns, dtype=torch.float64)
    for out in outs:
        graph = out.cells.graphs[-1]
        place = (graph.row % columns) * columns + graph.col % columns
        total.index_add_(0, place, graph.mean_weight().double() / len(outs))
    return total.view(columns, columns)


def _mean_graph(graphs: Sequence[TokenGraph]) -> TokenGraph:
    """The graph of mean weights over the same tokens; an edge that a graph lacks weighs 0 there."""
    first = graphs[0]
    if len(graphs) == 1:
        return first
    keys = torch.cat([graph.row * graph.num_sources + graph.col for graph in graphs])
    weights = torch.cat([graph.mean_weight() for graph in graphs]) / len(graphs)
    keys, place = keys.unique(return_inverse=True)
    rowptr = torch.zeros_like(first.rowptr)
    rowptr[1:] = torch.bincount(keys // first.num_sources, minlength=first.num_targets).cumsum(0)
    return TokenGraph(
        rowptr=rowptr,
        col=keys % first.num_sources,
        num_sources=first.num_sources,
        weight=weights.new_zeros(len(keys)).index_add_(0, place, weights),
        ptr=first.ptr,
    )

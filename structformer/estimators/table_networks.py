"""The networks of a table estimator: what they remember of the training rows, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from structformer.estimators.parts import joined
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


def mean_outputs(said: Iterable[Said]) -> Float[Tensor, "rows outputs"]:
    """Return the outputs of all batches, averaged over the networks."""
    return torch.cat([torch.stack([out.outputs for out in outs]).mean(0) for outs in said])


def row_graph(said: Iterable[Said], training_rows: int, **fields: Any) -> TokenGraph:
    """Return the row graph of the last step, those of the others in ``earlier``.

    Batches are joined, and weights averaged over the networks.

    Args:
        said: All batches.
        training_rows: Rows that may be listened to.
        **fields: Further fields of the graphs, such as ``names``.
    """
    by_batch = [
        [_mean_graph(graphs) for graphs in zip(*(out.row_graphs for out in outs), strict=True)]
        for outs in said
    ]
    steps = zip(*by_batch, strict=True)
    graphs = [joined(parts, [0] * len(parts), training_rows, **fields) for parts in steps]
    return graphs[-1].with_steps(graphs[:-1])


def column_table(said: Iterable[Said], names: Sequence[str]) -> pd.DataFrame:
    """Return the weight from each column (second axis) to each (first axis) in the last cell step.

    It is averaged over rows and networks.
    """
    total, rows = torch.zeros(len(names) ** 2, dtype=torch.float64), 0
    for outs in said:
        for out in outs:
            graph = out.cells.graphs[-1]
            place = (graph.row % len(names)) * len(names) + graph.col % len(names)
            total.index_add_(0, place, graph.mean_weight().double())
            rows += len(out.rows)
    mean = (total / max(rows, 1)).view(len(names), len(names))
    return pd.DataFrame(mean.numpy(), index=list(names), columns=list(names))


def _mean_graph(graphs: Sequence[TokenGraph]) -> TokenGraph:
    """The graph of mean weights over the same tokens; an edge that a graph lacks weighs 0 there."""
    first = graphs[0]
    if len(graphs) == 1:
        return first
    keys = torch.cat([graph.row * graph.num_sources + graph.col for graph in graphs])
    keys, place = keys.unique(return_inverse=True)

    def mean(parts: list[Tensor]) -> Tensor:
        values = torch.cat(parts) / len(graphs)
        return values.new_zeros(len(keys)).index_add_(0, place, values)

    support = [graph.support for graph in graphs if graph.support is not None]
    rowptr = torch.zeros_like(first.rowptr)
    rowptr[1:] = torch.bincount(keys // first.num_sources, minlength=first.num_targets).cumsum(0)
    return TokenGraph(
        rowptr=rowptr,
        col=keys % first.num_sources,
        num_sources=first.num_sources,
        weight=mean([graph.mean_weight() for graph in graphs]),
        support=mean(support) if len(support) == len(graphs) else None,
        ptr=first.ptr,
    )

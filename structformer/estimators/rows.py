"""Rows of a table as batches, in an order of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet

CELLS_A_BATCH = 65_536


def batches_of_rows(cells: TokenSet, dtype: torch.dtype) -> Iterator[TokenSet]:
    """Split a table into parts of bounded size, its numbers in ``dtype``."""
    columns = max(1, cells.num_tokens // max(1, cells.num_sets))
    for rows in torch.arange(cells.num_sets).split(max(1, CELLS_A_BATCH // columns)):
        part = cells.select(rows)
        part.x = part.x.to(dtype)
        if part.get("text") is not None:
            part.text = part.text.to(dtype)
        yield part


def canonical_order(
    cells: TokenSet, columns: Sequence[Column], target: np.ndarray, weight: Tensor | None
) -> Int[Tensor, " rows"]:
    """Return an order of the rows that depends on what they hold and not on where they stand.

    Rows that compare equal hold the same cells, target and weight, so that their mutual order changes nothing.
    """
    rows = cells.num_sets
    code = cells.code.numpy().reshape(rows, -1).copy()
    text = [place for place, column in enumerate(columns) if column.kind == "text"]
    if text:
        # A text's code is its place in the list of texts; its rank among them depends on the text alone.
        strings = np.array(cells.text_strings, dtype=object)
        rank = np.empty(len(strings), dtype=np.int64)
        rank[np.argsort(strings, kind="stable")] = np.arange(len(strings))
        code[:, text] = rank[code[:, text]]
    keys = [
        *cells.x.numpy().reshape(rows, -1).T,
        *code.T,
        *target.reshape(rows, math.prod(target.shape[1:])).T,
    ]
    if weight is not None:
        keys.append(weight.numpy())
    return torch.from_numpy(np.lexsort(keys))


def column_weights(graph: TokenGraph, columns: int) -> Float[Tensor, "columns columns"]:
    """Return the sum over rows of the weight from each column (second axis) to each (first axis)."""
    weight = graph.mean_weight().double()
    place = (graph.row % columns) * columns + graph.col % columns
    return (
        torch.zeros(columns * columns, dtype=torch.float64)
        .index_add_(0, place, weight)
        .view(columns, columns)
    )

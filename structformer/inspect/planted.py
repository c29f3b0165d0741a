"""Planted graphs: data made from a graph that is known, on which a learned graph must find it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch_geometric.data import Data

from structformer.graph import TokenGraph


@dataclass(frozen=True, eq=False)
class Planted:
    """Data with the graph that it was made from.

    Attributes:
        kind: Which bed it is of.
        frame: ``[rows, columns]`` numbers.
        truth: The graph, without weights, each edge in both directions: over the rows, or for dependent columns over
            the columns; tokens are named like these.
        labels: One class a row, or None where rows have none.
    """

    kind: str
    frame: pd.DataFrame
    truth: TokenGraph
    labels: np.ndarray | None = None

    @property
    def nodes(self) -> Data:
        """The rows as nodes of a graph without edges, for the estimators of graphs."""
        x = torch.tensor(self.frame.to_numpy(np.float32))
        return Data(x=x, num_nodes=len(x))


def planted_blocks(
    seed: int = 0, blocks: int = 12, size: int = 16, features: int = 32, noise: float = 0.8
) -> Planted:
    """Rows of a stochastic block model: those of a block lie around a centre of its own, and all know each other.

    Args:
        seed: Of all that is drawn.
        blocks: Number of blocks, which are the classes.
        size: Rows of a block.
        features: Columns.
        noise: Standard deviation around a centre; centres have 1 around the origin.
    """
    draw = np.random.default_rng(seed)
    block = draw.permutation(np.repeat(np.arange(blocks), size))
    x = draw.normal(size=(blocks, features))[block] + noise * draw.normal(size=(len(block), features))
    edges = [(i, j) for own in range(blocks) for i, j in _all_pairs(np.flatnonzero(block == own))]
    return Planted("blocks", _frame(x), _graph(edges, len(x), "row"), block)


def planted_manifold(
    seed: int = 0, rows: int = 400, near: int = 8, features: int = 32, noise: float = 0.05
) -> Planted:
    """Rows on a curved sheet in many dimensions, linked to those nearest on the sheet, in either direction.

    Places in the unit square are bent by sines of random directions and phases. The classes are the quarters.

    Args:
        seed: Of all that is drawn.
        rows: Number of rows.
        near: Rows that each is linked to.
        features: Columns.
        noise: Standard deviation of what is added; a column swings between −1 and 1.
    """
    draw = np.random.default_rng(seed)
    place = draw.uniform(size=(rows, 2))
    bend, phase = 2 * draw.normal(size=(2, features)), draw.uniform(0, 2 * np.pi, features)
    x = np.sin(place @ bend + phase) + noise * draw.normal(size=(rows, features))
    nearest = np.asarray(KDTree(place).query(place, k=near + 1)[1])[:, 1:]
    edges = [(i, int(j)) for i, some in enumerate(nearest) for j in some]
    quarter = (place > 0.5) @ np.array([1, 2])
    return Planted("manifold", _frame(x), _graph(edges, rows, "row"), quarter)


def planted_tree(seed: int = 0, rows: int = 200, features: int = 64, step: float = 0.7) -> Planted:
    """Rows that descend from each other: each is its parent, one of the twenty before it, moved at random.

    Args:
        seed: Of all that is drawn.
        rows: Number of rows.
        features: Columns.
        step: Standard deviation of a move; the first row has 1 around the origin.
    """
    draw = np.random.default_rng(seed)
    parent = [int(draw.integers(max(0, row - 20), row)) for row in range(1, rows)]
    x = draw.normal(size=(rows, features)) * np.where(np.arange(rows) > 0, step, 1)[:, None]
    for row, before in enumerate(parent, start=1):
        x[row] += x[before]
    place = draw.permutation(rows)  # what comes first says nothing
    shuffled = np.empty_like(x)
    shuffled[place] = x
    edges = [(int(place[row]), int(place[before])) for row, before in enumerate(parent, start=1)]
    return Planted("tree", _frame(shuffled), _graph(edges, rows, "row"))


def planted_columns(
    seed: int = 0, rows: int = 1_000, columns: int = 16, family: int = 4, strength: float = 0.9
) -> Planted:
    """Columns that depend on each other in families: each on one before it in its own, by a correlation of ±strength.

    Within a family columns that are not linked correlate too, through those between them.

    Args:
        seed: Of all that is drawn.
        rows: Number of rows.
        columns: Number of columns.
        family: Columns of a family; the first depends on none.
        strength: Size of the correlation of columns that are linked.
    """
    draw = np.random.default_rng(seed)
    order, x = draw.permutation(columns), draw.normal(size=(rows, columns))
    edges: list[tuple[int, int]] = []
    for number, column in enumerate(order.tolist()):
        if number % family:
            before = int(order[number - 1 - draw.integers(number % family)])
            sign = draw.choice([-1.0, 1.0])
            x[:, column] = sign * strength * x[:, before] + np.sqrt(1 - strength**2) * x[:, column]
            edges.append((column, before))
    return Planted("columns", _frame(x), _graph(edges, columns, "c"))


BEDS: Mapping[str, Callable[[int], Planted]] = {
    "blocks": planted_blocks,
    "manifold": planted_manifold,
    "tree": planted_tree,
    "columns": planted_columns,
}
"""The kinds, by name, each made from a seed."""


def _frame(x: Float[np.ndarray, "rows columns"]) -> pd.DataFrame:
    columns = [f"c{number}" for number in range(x.shape[1])]
    return pd.DataFrame(x, index=[f"row{number}" for number in range(len(x))], columns=columns)


def _all_pairs(rows: np.ndarray) -> list[tuple[int, int]]:
    return list(nx.complete_graph(rows.tolist()).edges)


def _graph(edges: list[tuple[int, int]], tokens: int, name: str) -> TokenGraph:
    index = torch.tensor(edges).T
    both = torch.cat([index, index.flip(0)], dim=1)
    graph = TokenGraph.from_edge_index(both, tokens, names=[f"{name}{number}" for number in range(tokens)])
    return graph.with_weight(None)

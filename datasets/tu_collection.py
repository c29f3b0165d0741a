"""Graphs with a class each: MUTAG, PROTEINS and ENZYMES of the TU collection, with ten folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data

from .names import one_of
from .store import read

NAMES = ("MUTAG", "PROTEINS", "ENZYMES")
FOLDS = 10


@dataclass(frozen=True)
class GraphCollection:
    """Graphs and folds.

    Attributes:
        graphs: Each with the kinds of its nodes `x [nodes, kinds]`, one-hot, its class `y [1]`, and `edge_index` with
            each edge both ways.
        folds: Indices of the graphs of each of ten folds. A graph is in one of them or, few of them, in none.
    """

    graphs: tuple[Data, ...]
    folds: tuple[Int[Tensor, "fold"], ...]


def tu_graphs(name: Literal["MUTAG", "PROTEINS", "ENZYMES"]) -> GraphCollection:
    """Return a collection of graphs (Morris et al. 2020, arXiv 2007.08663) with the folds of DGCNN.

    Raises:
        ValueError: If there is no such collection, or a file is damaged.
        FileNotFoundError: If it was not downloaded.
    """
    files = read(f"tu_graphs/{one_of('name', name, NAMES)}")
    return GraphCollection(
        parse_graphs(files[f"tu_graphs/{name}.txt"].decode("ascii")),
        tuple(
            torch.tensor(
                [int(line) for line in files[f"tu_graphs/{name}_10fold_idx/test_idx-{fold}.txt"].split()]
            )
            for fold in range(1, FOLDS + 1)
        ),
    )


def parse_graphs(text: str) -> tuple[Data, ...]:
    """Read the number of graphs, and for each "nodes class" on a line and "kind degree neighbours" on one a node."""
    lines = iter(text.splitlines())
    found: list[tuple[int, list[int], list[tuple[int, int]]]] = []
    for _ in range(int(next(lines))):
        nodes, label = map(int, next(lines).split()[:2])
        rows = [list(map(int, next(lines).split())) for _ in range(nodes)]
        # An edge is listed at both its ends.
        edges = [(other, node) for node, (_, degree, *others) in enumerate(rows) for other in others[:degree]]
        found.append((label, [row[0] for row in rows], edges))
    kinds = _numbered(kind for _, some, _ in found for kind in some)
    classes = _numbered(label for label, _, _ in found)
    return tuple(
        Data(
            x=F.one_hot(torch.tensor([kinds[kind] for kind in some]), len(kinds)).float(),
            edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t().contiguous(),
            y=torch.tensor([classes[label]]),
        )
        for label, some, edges in found
    )


def _numbered(values: Iterable[int]) -> dict[int, int]:
    return {value: number for number, value in enumerate(sorted(set(values)))}

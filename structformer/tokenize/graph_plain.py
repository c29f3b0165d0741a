"""The plain form that graphs of every kind are read into."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Int
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from structformer.tokenize.attributes import Column

Graph = nx.Graph | Data | HeteroData
"""What a graph may be: any networkx graph class derives from `nx.Graph`."""


@dataclass
class PlainGraph:
    """A graph before its attributes are encoded.

    Attributes:
        labels: the nodes as the user knows them, in token order.
        edge_index: source and target of every edge; an undirected edge is there once.
        directed: whether the edges have a direction.
        nodes: node attributes.
        edges: edge attributes.
        name: the graph's name, empty if it has none.
        named: whether the labels say more than the node's number.
        node_type: index into the node types of a HeteroData, else None.
        bare: whether some nodes have no attributes of their own.
        y: target of the nodes (first dimension is nodes) or of the graph.
        masks: boolean node masks.
    """

    labels: list[Any]
    edge_index: Int[np.ndarray, "2 edges"]
    directed: bool
    nodes: dict[str, Column]
    edges: dict[str, Column]
    name: str = ""
    named: bool = True
    node_type: Int[np.ndarray, "nodes"] | None = None
    bare: bool = False
    y: Tensor | None = None
    masks: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.labels)

    @property
    def num_edges(self) -> int:
        """Number of edges; an undirected edge counts once."""
        return self.edge_index.shape[1]

    def names(self) -> list[str]:
        """The labels as strings; where two would read the same (1 and "1"), as Python writes them."""
        if self.node_type is not None:
            return [f"{kind} {index}" for kind, index in self.labels]
        names = list(map(str, self.labels))
        count = Counter(names)
        if len(count) == len(names):
            return names
        return [
            repr(label) if count[name] > 1 else name for name, label in zip(names, self.labels, strict=True)
        ]

"""Graphs of any kind, one or many, as one packed TokenSet."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
from sklearn.exceptions import NotFittedError
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from structformer.tokenize.attributes import AttributeEncoder, join_columns
from structformer.tokenize.graph_networkx import read_networkx
from structformer.tokenize.graph_plain import Graph, PlainGraph
from structformer.tokenize.graph_pyg import read_data, read_hetero
from structformer.tokenize.graph_tokens import (
    both_ways,
    edge_items,
    merge_directions,
    node_items,
    pack_graphs,
)
from structformer.tokenize.scaling import Standardizer
from structformer.tokenize.structure import affordable_steps, structural_features
from structformer.tokens import TokenSet


class GraphTokenizer:
    """Turns networkx graphs, PyG Data and HeteroData into tokens, one a node, and edges between them.

    Node attributes of any type become numbers by the rules of `Attribute`; so do edge attributes, `weight`
    among them. Graphs without node attributes get structural features (`structural_features`), which say
    where in the graph a node is and do not depend on how nodes are numbered. Undirected edges are there both
    ways, parallel edges and self-loops stay. Each graph is one set; a graph's tokens come out the same in
    any batch.

    In networkx graphs, string attributes that repeat the node's name and edge attributes called `id` are left
    out: file formats add them.

    Args:
        edge_tokens: every edge is a token too (`token_type` 1, or one more than the last node type of
            HeteroData), linked source -> edge -> target, both ways when undirected. The tokens of a graph are
            its nodes, then its edges; edge attributes are features of these, in columns of their own, and the
            links have none. Data whose edges are all there both ways, with equal attributes, is undirected.
        structure: whether nodes get structural features. None: only if some nodes have no attributes.
        steps: the longest random walk of the structural features; shortened for large training graphs
            (`affordable_steps`), see `steps_`.
        ignore: names of attributes, of nodes or edges, that are not to be read, such as a target.

    Attributes:
        nodes_, edges_: the `AttributeEncoder` of each.
        steps_: the longest random walk, or None without structural features.
        feature_names_: what each column of `x` says.
        edge_feature_names_: what each column of `edge_attr` says; empty with `edge_tokens`.
        node_types_, edge_types_: the types of HeteroData, sorted; empty for other graphs.
    """

    def __init__(
        self,
        edge_tokens: bool = False,
        structure: bool | None = None,
        steps: int = 16,
        ignore: Sequence[str] = (),
    ) -> None:
        if steps < 0:
            raise ValueError(f"steps must be at least 0 (got {steps})")
        if isinstance(ignore, str):
            raise TypeError(f"ignore must be a list of names (got the string {ignore!r})")
        self.edge_tokens = edge_tokens
        self.structure = structure
        self.steps = steps
        self.ignore = tuple(ignore)
        self.nodes_: AttributeEncoder | None = None
        self.edges_: AttributeEncoder = AttributeEncoder()
        self.steps_: int | None = None
        self.scaler_: Standardizer | None = None
        self.node_types_: tuple[str, ...] = ()
        self.edge_types_: tuple[str, ...] = ()

    @property
    def feature_names_(self) -> list[str]:
        """What each column of `x` says."""
        names = self._fitted().feature_names
        if self.steps_ is not None:
            names += ["log in-degree", "log out-degree"]
            names += [f"return in {step}" for step in range(1, self.steps_ + 1)]
        return names + (self.edges_.feature_names if self.edge_tokens else [])

    @property
    def edge_feature_names_(self) -> list[str]:
        """What each column of `edge_attr` says."""
        return [] if self.edge_tokens else self.edges_.feature_names

    @property
    def num_features_(self) -> int:
        """The width of `x`."""
        return len(self.feature_names_)

    def fit(self, graphs: Graph | Iterable[Graph]) -> GraphTokenizer:
        """Learns categories, scales and types from training graphs.

        Raises:
            ValueError: if there are no graphs, a graph has no nodes, an edge names a missing node, a value is
                not finite or cannot be used; the message names it.
            TypeError: if something is no graph.
        """
        found = as_list(graphs)
        hetero = [graph for graph in found if isinstance(graph, HeteroData)]
        self.node_types_ = tuple(sorted({kind for graph in hetero for kind in graph.node_types}))
        self.edge_types_ = tuple(sorted({" ".join(kind) for graph in hetero for kind in graph.edge_types}))
        plain = self._read(found)
        nodes = join_columns([graph.nodes for graph in plain], [graph.num_nodes for graph in plain], "node")
        edges = join_columns([graph.edges for graph in plain], [graph.num_edges for graph in plain], "edge")
        self.nodes_ = AttributeEncoder.fit(nodes, node_items(plain))
        self.edges_ = AttributeEncoder.fit(edges, edge_items(plain))
        bare = any(graph.bare for graph in plain) or not nodes
        self.steps_ = self.scaler_ = None
        if self.structure or (self.structure is None and bare):
            edge_index, total = both_ways(plain).edge_index, sum(graph.num_nodes for graph in plain)
            self.steps_ = affordable_steps(edge_index, total, self.steps)
            self.scaler_ = Standardizer.fit(structural_features(edge_index, total, self.steps_))
        return self

    def transform(self, graphs: Graph | Iterable[Graph]) -> TokenSet:
        """Turns graphs into tokens.

        Returns:
            A TokenSet with `x [T, F]`, `ptr`, `edge_index`, `edge_attr` (None without edge attributes),
            `token_type` (with edge tokens or HeteroData), `names` (node labels as strings; None for Data),
            `set_names` and, from PyG, the `y` and the boolean masks that all graphs have. Where edges are
            tokens, a node-level `y` is -1 or NaN and a mask False on them.

        Raises:
            ValueError: as in `fit`, and if attributes of the training graphs are absent altogether.
            NotFittedError: before `fit`.

        Warns:
            UserWarning: for attributes that the training graphs lack; they are ignored.
        """
        encoder = self._fitted()
        plain = self._read(as_list(graphs))
        nodes = join_columns([graph.nodes for graph in plain], [graph.num_nodes for graph in plain], "node")
        edges = join_columns([graph.edges for graph in plain], [graph.num_edges for graph in plain], "edge")
        x = encoder.transform(nodes, node_items(plain))
        edge_x = self.edges_.transform(edges, edge_items(plain))
        if self.steps_ is not None and self.scaler_ is not None:
            features = structural_features(both_ways(plain).edge_index, len(x), self.steps_)
            x = np.concatenate([x, self.scaler_(features)], axis=1)
        return pack_graphs(plain, x, edge_x, self.edge_tokens, len(self.node_types_) or 1)

    def fit_transform(self, graphs: Graph | Iterable[Graph]) -> TokenSet:
        """`fit(graphs)`, then `transform(graphs)`."""
        found = as_list(graphs)
        return self.fit(found).transform(found)

    def nodes(self, graphs: Graph | Iterable[Graph]) -> list[list[Hashable]]:
        """The nodes of each graph as the user knows them, in the order of their tokens.

        networkx nodes as they are, the numbers from 0 for Data, `(type, number)` for HeteroData.
        """
        return [graph.labels for graph in self._read(as_list(graphs))]

    def to_dict(self) -> dict[str, Any]:
        """Settings and fitted state, JSON-ready."""
        return {
            "edge_tokens": self.edge_tokens,
            "structure": self.structure,
            "steps": self.steps,
            "ignore": list(self.ignore),
            "nodes": self._fitted().to_dict(),
            "edges": self.edges_.to_dict(),
            "walk": self.steps_,
            "scaler": None if self.scaler_ is None else self.scaler_.to_dict(),
            "node_types": list(self.node_types_),
            "edge_types": list(self.edge_types_),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> GraphTokenizer:
        """The inverse of `to_dict`."""
        self = cls(state["edge_tokens"], state["structure"], int(state["steps"]), tuple(state["ignore"]))
        self.nodes_ = AttributeEncoder.from_dict(state["nodes"])
        self.edges_ = AttributeEncoder.from_dict(state["edges"])
        self.steps_ = None if state["walk"] is None else int(state["walk"])
        self.scaler_ = None if state["scaler"] is None else Standardizer.from_dict(state["scaler"])
        self.node_types_ = tuple(state["node_types"])
        self.edge_types_ = tuple(state["edge_types"])
        return self

    def _fitted(self) -> AttributeEncoder:
        if self.nodes_ is None:
            raise NotFittedError("GraphTokenizer is not fitted: call fit(graphs) first")
        return self.nodes_

    def _read(self, graphs: list[Graph]) -> list[PlainGraph]:
        plain = [self._read_one(graph, index) for index, graph in enumerate(graphs)]
        if self.edge_tokens:
            plain = [graph if graph.named else merge_directions(graph) for graph in plain]
        return plain

    def _read_one(self, graph: Graph, index: int) -> PlainGraph:
        if isinstance(graph, HeteroData):
            plain = read_hetero(graph, index, self.ignore, self.node_types_, self.edge_types_)
        elif isinstance(graph, Data):
            plain = read_data(graph, index, self.ignore)
        else:
            plain = read_networkx(graph, self.ignore)
        if plain.num_nodes == 0:
            raise ValueError(f"graph {index} has no nodes")
        if bool(self.node_types_) != isinstance(graph, HeteroData):
            raise ValueError(f"graph {index}: HeteroData and graphs without types cannot be mixed")
        return plain


def as_list(graphs: Any) -> list[Graph]:
    """One graph, a PyG batch or any iterable of graphs, as a list of at least one.

    Raises:
        ValueError: if there are no graphs.
        TypeError: if something is no graph.
    """
    accepted = "networkx graphs, PyG Data or HeteroData"
    if isinstance(graphs, Batch):
        graphs = graphs.to_data_list()
    if isinstance(graphs, nx.Graph | Data | HeteroData):
        return [graphs]
    if isinstance(graphs, np.ndarray | Tensor | str) or not hasattr(graphs, "__iter__"):
        raise TypeError(f"graphs must be {accepted}, one or a list (got {type(graphs).__name__})")
    found = list(graphs)
    if not found:
        raise ValueError("graphs is empty: at least 1 graph is needed")
    for index, graph in enumerate(found):
        if not isinstance(graph, nx.Graph | Data | HeteroData):
            raise TypeError(f"graphs must be {accepted} (graph {index} is a {type(graph).__name__})")
    return found

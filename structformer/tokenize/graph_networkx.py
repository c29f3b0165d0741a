"""Reading networkx graphs: directed or not, multi or not, attributes of any type."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import networkx as nx
import numpy as np

from structformer.tokenize.attributes import Column
from structformer.tokenize.graph_plain import PlainGraph


def read_networkx(graph: nx.Graph, ignore: Collection[str]) -> PlainGraph:
    """Reads a networkx graph.

    Nodes keep the graph's order. Edge keys of a multigraph become the edge attribute `key` unless they are
    networkx' own counting numbers. A string attribute that only repeats the node's name, and an edge
    attribute `id`, both of which file formats add, are left out.

    Args:
        graph: any networkx graph.
        ignore: attributes, of nodes or edges, that are not to be read.
    """
    labels = list(graph.nodes)
    place = {label: i for i, label in enumerate(labels)}
    if graph.is_multigraph():
        multi: Any = graph
        edges = list(multi.edges(keys=True, data=True))
        pairs = [(place[u], place[v]) for u, v, _, _ in edges]
        dicts: list[dict[Any, Any]] = [data for _, _, _, data in edges]
        keys: list[Any] = [key for _, _, key, _ in edges]
        # Counting keys are networkx' own; anything else is what the user calls the edge, often a relation.
        if not all(isinstance(key, int) for key in keys):
            dicts = [{"key": str(key), **data} for key, data in zip(keys, dicts, strict=True)]
    else:
        pairs = [(place[u], place[v]) for u, v in graph.edges()]
        dicts = [data for _, _, data in graph.edges(data=True)]
    nodes = _columns([graph.nodes[label] for label in labels], ignore)
    # Some file formats repeat the node's name as an attribute, and number the edges.
    written = list(map(str, labels))
    repeated = [name for name, column in nodes.items() if column.values == written]
    return PlainGraph(
        labels=labels,
        edge_index=np.array(pairs, dtype=np.int64).reshape(-1, 2).T,
        directed=graph.is_directed(),
        nodes={name: column for name, column in nodes.items() if name not in repeated},
        edges=_columns(dicts, {*ignore, "id"}),
        name=str(graph.name or ""),
    )


def _columns(dicts: list[dict[Any, Any]], ignore: Collection[str]) -> dict[str, Column]:
    names = {name for attributes in dicts for name in attributes}
    return {
        str(name): Column([attributes.get(name) for attributes in dicts])
        for name in names
        if name not in ignore and str(name) not in ignore
    }

"""Plain graphs with encoded attributes, packed into a TokenSet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.utils import is_undirected

from structformer.tokenize.attribute_values import Items
from structformer.tokenize.attributes import Column
from structformer.tokenize.graph_plain import PlainGraph
from structformer.tokens import TokenSet


@dataclass(frozen=True)
class Links:
    """Directed edges between the nodes of several graphs, numbered through.

    Attributes:
        edge_index: source and target of every link.
        edge: the edge each link stands for; an undirected edge has two links, a loop one.
    """

    edge_index: Int[np.ndarray, "2 links"]
    edge: Int[np.ndarray, "links"]


def both_ways(graphs: Sequence[PlainGraph]) -> Links:
    """The edges of all graphs, undirected ones in both directions, grouped by graph."""
    pairs: list[np.ndarray] = []
    edges: list[np.ndarray] = []
    node = edge = 0
    for graph in graphs:
        pair = graph.edge_index + node
        number = np.arange(graph.num_edges) + edge
        back = np.flatnonzero(pair[0] != pair[1]) if not graph.directed else np.zeros(0, np.int64)
        pairs += [pair, pair[::-1, back]]
        edges += [number, number[back]]
        node += graph.num_nodes
        edge += graph.num_edges
    return Links(np.concatenate(pairs, axis=1), np.concatenate(edges))


def merge_directions(graph: PlainGraph) -> PlainGraph:
    """Keeps one of the two directions of each edge, if all are there both ways with equal attributes."""
    edge_index = torch.from_numpy(graph.edge_index)
    attributes = [torch.from_numpy(np.asarray(column.values)) for column in graph.edges.values()]
    if not is_undirected(edge_index, attributes or None, graph.num_nodes):
        return graph
    keep = np.flatnonzero(graph.edge_index[0] <= graph.edge_index[1])
    edges = {name: Column(np.asarray(column.values)[keep]) for name, column in graph.edges.items()}
    return replace(graph, edge_index=graph.edge_index[:, keep], edges=edges, directed=False)


def node_items(graphs: Sequence[PlainGraph]) -> Items:
    """The nodes of all graphs, for error messages."""
    starts = np.cumsum([0, *(graph.num_nodes for graph in graphs)])

    def name(index: int) -> str:
        graph, local, place = _locate(starts, index, len(graphs))
        return repr(graphs[graph].labels[local]) + place

    return Items("node", int(starts[-1]), name)


def edge_items(graphs: Sequence[PlainGraph]) -> Items:
    """The edges of all graphs, for error messages."""
    starts = np.cumsum([0, *(graph.num_edges for graph in graphs)])

    def name(index: int) -> str:
        graph, local, place = _locate(starts, index, len(graphs))
        source, target = graphs[graph].edge_index[:, local].tolist()
        labels = graphs[graph].labels
        return f"({labels[source]!r}, {labels[target]!r}){place}"

    return Items("edge", int(starts[-1]), name)


def _locate(starts: np.ndarray, index: int, num_graphs: int) -> tuple[int, int, str]:
    graph = int(np.searchsorted(starts, index, side="right")) - 1
    return graph, index - int(starts[graph]), f" of graph {graph}" if num_graphs > 1 else ""


def pack_graphs(
    graphs: Sequence[PlainGraph],
    x: Float[np.ndarray, "nodes features"],
    edge_x: Float[np.ndarray, "edges attributes"],
    edge_tokens: bool,
    edge_code: int,
) -> TokenSet:
    """Builds the TokenSet of some graphs.

    Args:
        graphs: the graphs, one set each.
        x: features of all nodes.
        edge_x: attributes of all edges, undirected ones once.
        edge_tokens: whether edges become tokens.
        edge_code: the `token_type` of edges.
    """
    sizes = np.array([graph.num_nodes for graph in graphs])
    counts = np.array([graph.num_edges if edge_tokens else 0 for graph in graphs])
    ptr = np.concatenate([[0], np.cumsum(sizes + counts)])
    # The token of every node and of every edge: a graph's nodes come first, then its edges.
    node_token = np.arange(sizes.sum()) + np.repeat(np.cumsum(counts) - counts, sizes)
    edge_token = np.arange(counts.sum()) + np.repeat(np.cumsum(sizes), counts)
    links = both_ways(graphs)
    fields: dict[str, Tensor] = {}
    if edge_tokens:
        x = _stack_blocks(x, edge_x, node_token, edge_token)
        edge_index, edge_attr = _incidence(graphs, node_token, edge_token), None
    else:
        edge_index = links.edge_index
        edge_attr = torch.from_numpy(edge_x[links.edge]) if edge_x.shape[1] else None
    if edge_tokens or graphs[0].node_type is not None:
        token_type = np.full(ptr[-1], edge_code)
        kinds = [np.zeros(g.num_nodes, np.int64) if g.node_type is None else g.node_type for g in graphs]
        token_type[node_token] = np.concatenate(kinds)
        fields["token_type"] = torch.from_numpy(token_type)
    masks = set(graphs[0].masks).intersection(*(graph.masks for graph in graphs))
    for mask in sorted(masks):
        values = torch.cat([graph.masks[mask] for graph in graphs])
        fields[mask] = _on_tokens(values, node_token, int(ptr[-1]))
    y = _targets(graphs)
    if y is not None and len(y) == len(node_token) and not _is_graph_level(graphs):
        y = _on_tokens(y, node_token, int(ptr[-1]))
    return TokenSet(
        x=torch.from_numpy(x),
        ptr=torch.from_numpy(ptr),
        edge_index=torch.from_numpy(np.ascontiguousarray(edge_index)),
        edge_attr=edge_attr,
        y=y,
        names=_names(graphs, edge_tokens) if any(graph.named for graph in graphs) else None,
        set_names=[graph.name or f"graph {index}" for index, graph in enumerate(graphs)],
        **fields,
    )


def _stack_blocks(
    x: np.ndarray, edge_x: np.ndarray, node_token: np.ndarray, edge_token: np.ndarray
) -> np.ndarray:
    stacked = np.zeros((len(x) + len(edge_x), x.shape[1] + edge_x.shape[1]), np.float32)
    stacked[node_token, : x.shape[1]] = x
    stacked[edge_token, x.shape[1] :] = edge_x
    return stacked


def _incidence(graphs: Sequence[PlainGraph], node_token: np.ndarray, edge_token: np.ndarray) -> np.ndarray:
    """Links source -> edge -> target, and back where the edge has no direction."""
    offsets = np.cumsum([0, *(graph.num_nodes for graph in graphs)])
    ends = np.concatenate([g.edge_index + o for g, o in zip(graphs, offsets, strict=False)], axis=1)
    source, target = node_token[ends]
    back = np.repeat([not graph.directed for graph in graphs], [graph.num_edges for graph in graphs])
    back &= source != target
    forward = [np.stack([source, edge_token]), np.stack([edge_token, target])]
    backward = [np.stack([target, edge_token])[:, back], np.stack([edge_token, source])[:, back]]
    return np.concatenate(forward + backward, axis=1)


def _on_tokens(values: Tensor, node_token: np.ndarray, total: int) -> Tensor:
    """A node field on all tokens; edges get NaN, False or -1."""
    fill = float("nan") if values.is_floating_point() else 0 if values.dtype == torch.bool else -1
    spread = values.new_full((total, *values.shape[1:]), fill)
    spread[torch.from_numpy(node_token)] = values
    return spread


def _is_graph_level(graphs: Sequence[PlainGraph]) -> bool:
    return all(graph.y is not None and len(graph.y) == 1 for graph in graphs)


def _targets(graphs: Sequence[PlainGraph]) -> Tensor | None:
    """`y` of all nodes or of all graphs; None unless every graph has one."""
    found = [graph.y for graph in graphs if graph.y is not None]
    if len(found) < len(graphs):
        return None
    if not _is_graph_level(graphs):
        for index, (y, graph) in enumerate(zip(found, graphs, strict=True)):
            if len(y) != graph.num_nodes:
                raise ValueError(
                    f"graph {index}: y has {len(y)} entries, but there are {graph.num_nodes} nodes; "
                    "give 1 a node or 1 a graph, or ignore=('y',)"
                )
    return torch.cat(found)


def _names(graphs: Sequence[PlainGraph], edge_tokens: bool) -> list[str]:
    names: list[str] = []
    for graph in graphs:
        own = graph.names()
        names += own
        if edge_tokens:
            arrow = " -> " if graph.directed else " -- "
            names += [own[source] + arrow + own[target] for source, target in graph.edge_index.T.tolist()]
    return names

"""TokenGraph from and to edge lists, scipy, networkx and PyG."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

if TYPE_CHECKING:
    from structformer.graph import TokenGraph


def _check_edges(edge_index: Tensor, num_targets: int, num_sources: int, square: bool) -> None:
    """Every edge must join two tokens that exist."""
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape [2, edges] (got {list(edge_index.shape)})")
    if edge_index.dtype.is_floating_point or edge_index.dtype.is_complex or edge_index.dtype == torch.bool:
        raise ValueError(f"edge_index must hold integers (got {edge_index.dtype})")
    for end, size, row in (("source", num_sources, 0), ("target", num_targets, 1)):
        bad = (edge_index[row] < 0) | (edge_index[row] >= size)
        if bad.any():
            edge = int(bad.nonzero()[0])
            noun = "token" if square else f"{end} token"
            raise ValueError(
                f"edge_index: edge {edge} names {noun} {int(edge_index[row, edge])}, but there are {size}"
            )


def _check_weight(weight: Tensor, num_edges: int) -> None:
    if weight.ndim not in (1, 2) or weight.shape[0] != num_edges:
        raise ValueError(
            f"weight must have shape [{num_edges}] or [{num_edges}, heads], one row for each edge "
            f"(got {list(weight.shape)})"
        )
    if not weight.dtype.is_floating_point:
        raise ValueError(f"weight must be floating point (got {weight.dtype})")
    if not torch.isfinite(weight).all():
        edge = int((~torch.isfinite(weight)).nonzero()[0, 0])
        raise ValueError(f"weight must be finite (edge {edge} has {weight[edge].tolist()})")


def _check_ptr(ptr: Tensor, edge_index: Tensor, num_tokens: int, square: bool) -> None:
    if ptr.ndim != 1 or ptr.numel() < 1 or ptr.dtype != torch.long:
        raise ValueError(f"ptr must be a vector of int64 (got {ptr.dtype} of shape {list(ptr.shape)})")
    if int(ptr[0]) != 0 or int(ptr[-1]) != num_tokens or bool((ptr.diff() < 0).any()):
        raise ValueError(f"ptr must rise from 0 to the number of tokens, {num_tokens} (got {ptr.tolist()})")
    if square:
        sets = torch.searchsorted(ptr, edge_index, right=True) - 1
        crossing = (sets[0] != sets[1]).nonzero()
        if crossing.numel():
            edge = int(crossing[0])
            raise ValueError(
                f"edge_index: edge {edge} joins token {int(edge_index[0, edge])} of set {int(sets[0, edge])} "
                f"to token {int(edge_index[1, edge])} of set {int(sets[1, edge])}; edges must stay in one set"
            )


def from_edge_index(
    cls: "type[TokenGraph]",
    edge_index: Tensor,
    num_tokens: int,
    weight: Tensor | None = None,
    num_sources: int | None = None,
    ptr: Tensor | None = None,
    names: Sequence[str] | None = None,
    coalesce: bool = True,
) -> "TokenGraph":
    """Build from a list of edges in any order.

    Args:
        edge_index: `[2, edges]` integers; row 0 holds sources j, row 1 targets i, as in PyG.
        num_tokens: Number of targets, and of sources unless `num_sources` says otherwise.
        weight: `[edges]` or `[edges, heads]`, following the order of `edge_index`.
        num_sources: Number of sources of a bipartite graph.
        ptr: `[sets + 1]` boundaries of sets that no edge may cross (square graphs).
        names: One name for each target.
        coalesce: Merge repeated edges and add their weights; when False they are an error.

    Raises:
        ValueError: If an argument has the wrong shape or type, an edge names a token that does
            not exist or joins two sets, a weight is not finite, or an edge is repeated and
            `coalesce` is False. The message names the culprit.
    """
    if num_tokens < 0:
        raise ValueError(f"num_tokens must not be negative (got {num_tokens})")
    square = num_sources is None
    sources = num_tokens if num_sources is None else num_sources
    _check_edges(edge_index, num_tokens, sources, square)
    edge_index = edge_index.long()
    if weight is not None:
        _check_weight(weight, edge_index.shape[1])
    if ptr is not None:
        _check_ptr(ptr, edge_index, num_tokens, square)
    if names is not None and len(names) != num_tokens:
        raise ValueError(f"names must hold {num_tokens} names, one for each token (got {len(names)})")

    # One integer for each edge orders them by target, then source.
    key, order = torch.sort(edge_index[1] * sources + edge_index[0], stable=True)
    weight = None if weight is None else weight[order]
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    if not first.all():
        if not coalesce:
            edge = edge_index[:, order[(~first).nonzero()[0, 0]]].tolist()
            raise ValueError(f"edge_index: the edge from {edge[0]} to {edge[1]} is repeated (coalesce=False)")
        if weight is not None:
            slot = first.cumsum(0) - 1
            weight = weight.new_zeros(int(first.sum()), *weight.shape[1:]).index_add(0, slot, weight)
        order = order[first]
    source, target = edge_index[0, order], edge_index[1, order]
    counts = torch.bincount(target, minlength=num_tokens)
    return cls(
        rowptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        col=source,
        num_sources=sources,
        weight=weight,
        names=None if names is None else [str(name) for name in names],
        ptr=ptr,
    )


def from_scipy(
    cls: "type[TokenGraph]", matrix: sp.sparray | sp.spmatrix, names: Sequence[str] | None = None
) -> "TokenGraph":
    """Build from a scipy sparse matrix `[targets, sources]`; its values become the weights."""
    coo: Any = sp.coo_matrix(matrix)
    targets, sources = coo.shape
    weight = torch.from_numpy(np.asarray(coo.data, dtype=np.result_type(coo.data.dtype, np.float32)).copy())
    edge_index = torch.from_numpy(np.stack([coo.col, coo.row]).astype(np.int64))
    bipartite_sources = None if sources == targets else sources
    return from_edge_index(cls, edge_index, targets, weight, bipartite_sources, None, names, True)


def from_networkx(cls: "type[TokenGraph]", graph: nx.Graph, weight: str | None = "weight") -> "TokenGraph":
    """Build from a networkx graph, directed or not, multi or not.

    An undirected edge becomes two, parallel edges are merged and their weights added. Names
    are `str(node)`, in the graph's own order. Weights are read from the edge attribute
    `weight` if any edge has it (1 where it is missing).
    """
    position = {node: i for i, node in enumerate(graph.nodes)}
    ends: list[tuple[int, int]] = []
    values: list[float] = []
    weighted = False
    for source, target, attributes in graph.edges(data=True):
        value = None if weight is None else attributes.get(weight)
        weighted |= value is not None
        try:
            number = 1.0 if value is None else float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"weight: {weight!r} of the edge {source!r} to {target!r} must be a number (got {value!r})"
            ) from None
        ends.append((position[source], position[target]))
        values.append(number)
        if not graph.is_directed() and source != target:
            ends.append((position[target], position[source]))
            values.append(number)
    edge_index = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
    weights = torch.tensor(values, dtype=torch.get_default_dtype()) if weighted else None
    names = [str(node) for node in graph.nodes]
    return from_edge_index(cls, edge_index, len(position), weights, None, None, names, True)


def from_pyg(cls: "type[TokenGraph]", data: Data) -> "TokenGraph":
    """Build from a PyG `Data`: `edge_index`, `edge_weight`, `ptr` and `names` as far as present."""
    with warnings.catch_warnings():
        # PyG would guess from the largest number in edge_index, and lose isolated nodes.
        warnings.simplefilter("error", UserWarning)
        try:
            num_nodes = data.num_nodes
        except UserWarning:
            raise ValueError("data must say how many nodes it has: give it x or num_nodes") from None
    edge_index = data.edge_index
    if edge_index is None:
        edge_index = torch.empty(2, 0, dtype=torch.long)
    fields = data.to_dict()
    weight, ptr, names = (fields.get(key) for key in ("edge_weight", "ptr", "names"))
    return from_edge_index(cls, edge_index, num_nodes or 0, weight, None, ptr, names, True)


def to_scipy(graph: "TokenGraph") -> sp.csr_matrix:
    """A scipy CSR matrix `[targets, sources]` of the weights averaged over heads."""
    parts = (graph.mean_weight(), graph.col, graph.rowptr)
    arrays = tuple(part.detach().cpu().numpy() for part in parts)
    return sp.csr_matrix(arrays, shape=(graph.num_targets, graph.num_sources))


def node_keys(names: Sequence[str] | None, count: int) -> list[Any]:
    """The names if they tell the nodes apart, otherwise positions."""
    return list(names) if names is not None and len(set(names)) == count else list(range(count))


def to_networkx(graph: "TokenGraph") -> nx.DiGraph:
    """A networkx graph whose nodes are the names and whose edges run from source to target.

    Without names, or when two tokens share one, nodes are positions (sources of a bipartite
    graph counted after the targets). Nodes carry `name`, and `label` and `side` ("target" or
    "source", bipartite only) where they apply; edges carry `weight`, and `given` and `support` if known.
    """
    names, labels = graph.names, graph.labels
    count = graph.num_targets
    offset = 0
    if graph.is_bipartite:
        offset = count
        count += graph.num_sources
        names = None if names is None or graph.source_names is None else [*names, *graph.source_names]
    keys = node_keys(names, count)
    out = nx.DiGraph()
    for i, key in enumerate(keys):
        out.add_node(key, name=str(key) if names is None else names[i])
        if graph.is_bipartite:
            out.nodes[key]["side"] = "target" if i < offset else "source"
        own = labels if i < graph.num_targets else graph.source_labels
        if own is not None:
            label = own[i if i < graph.num_targets else i - offset]
            out.nodes[key]["label"] = label.item() if isinstance(label, Tensor | np.generic) else label
    ends = zip(graph.col.tolist(), graph.row.tolist(), graph.mean_weight().tolist(), strict=True)
    given = None if graph.given is None else graph.given.tolist()
    support = None if graph.support is None else graph.support.tolist()
    for edge, (source, target, weight) in enumerate(ends):
        out.add_edge(keys[source + offset], keys[target], weight=weight)
        if given is not None:
            out.edges[keys[source + offset], keys[target]]["given"] = given[edge]
        if support is not None:
            out.edges[keys[source + offset], keys[target]]["support"] = support[edge]
    return out


def to_pyg(graph: "TokenGraph") -> Data | HeteroData:
    """A PyG `Data` with `edge_index`, `edge_weight` (`edge_attr` for weights per head) and, if known, `edge_support`.

    A bipartite graph becomes a `HeteroData` with node types "source" and "target" and the
    edge type `("source", "to", "target")`.
    """
    edge_index, weight = graph.to_edge_index()
    if graph.is_bipartite:
        data: Data | HeteroData = HeteroData()
        data["source"].num_nodes = graph.num_sources
        data["target"].num_nodes = graph.num_targets
        edges = data["source", "to", "target"]
        edges.edge_index = edge_index
    else:
        data = edges = Data(edge_index=edge_index, num_nodes=graph.num_targets)
        if graph.names is not None:
            data.names = list(graph.names)
        if graph.ptr is not None:
            data.ptr = graph.ptr
    if weight is not None:
        edges["edge_weight" if weight.ndim == 1 else "edge_attr"] = weight
    if graph.support is not None:
        edges["edge_support"] = graph.support
    return data

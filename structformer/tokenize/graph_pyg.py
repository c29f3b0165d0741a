"""Reading PyG graphs: Data and HeteroData."""

from __future__ import annotations

import warnings
from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.storage import BaseStorage
from torch_geometric.utils import to_edge_index

from structformer.tokenize.attributes import Column
from structformer.tokenize.graph_plain import PlainGraph


def read_data(data: Data, index: int, ignore: Collection[str]) -> PlainGraph:
    """Reads a PyG Data: `x` and `pos` are node attributes, `edge_attr` and `edge_weight` edge attributes.

    `y` and the boolean `*_mask` tensors are carried over. Sparse `x` is made dense. Without `x`, `pos` or
    `num_nodes` the number of nodes is the largest index in `edge_index` plus one, as in PyG.

    Args:
        data: the graph; edges are taken as directed, so that an undirected graph has each edge both ways.
        index: its place in the user's list, for error messages.
        ignore: fields that are not to be read.

    Raises:
        ValueError: if an edge names a node that is not there, or a field has a wrong shape.
    """
    num_nodes = _num_nodes(data)
    nodes = _arrays(data, ("x", "pos"), num_nodes, ignore, f"graph {index}")
    edge_index = _edge_index(data, f"graph {index}", num_nodes, num_nodes)
    num_edges = edge_index.shape[1]
    edges = _arrays(data, ("edge_attr", "edge_weight"), num_edges, ignore, f"graph {index}")
    return PlainGraph(
        labels=list(range(num_nodes)),
        edge_index=edge_index,
        directed=True,
        nodes=nodes,
        edges=edges,
        named=False,
        bare=not nodes,
        y=None if "y" in ignore else _target(data),
        masks=_masks(data, num_nodes, f"graph {index}"),
    )


def read_hetero(
    data: HeteroData,
    index: int,
    ignore: Collection[str],
    node_types: tuple[str, ...],
    edge_types: tuple[str, ...],
) -> PlainGraph:
    """Reads a PyG HeteroData: the nodes of all types in one graph, types in the order of `node_types`.

    Each type's `x` and `pos` fill columns of their own and are zero for other types; the edge type is a
    one-hot edge attribute beside the edges' own. A `y` or mask that only some types have is -1, NaN or False
    elsewhere.

    Args:
        data: the graph.
        index: its place in the user's list, for error messages.
        ignore: fields that are not to be read.
        node_types: the node types of training.
        edge_types: the edge types of training, each `source relation target`.

    Raises:
        ValueError: for types that are not among these, and as in `read_data`.
    """
    unknown = [kind for kind in data.node_types if kind not in node_types]
    unknown += [kind for kind in map(" ".join, data.edge_types) if kind not in edge_types]
    if unknown:
        raise ValueError(f"graph {index} has types that the training graphs lack: {unknown}")
    kinds = [kind for kind in node_types if kind in data.node_types]
    sizes = {kind: _num_nodes(data[kind]) for kind in kinds}
    offsets = dict(zip(kinds, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    nodes: dict[str, Column] = {}
    fields: dict[str, dict[str, Tensor]] = {}
    bare = False
    for kind in kinds:
        where = f"graph {index}, nodes {kind!r}"
        own = _arrays(data[kind], ("x", "pos"), sizes[kind], ignore, where)
        rows = np.arange(sizes[kind]) + offsets[kind]
        nodes |= {f"{kind}.{name}": Column(column.values, rows) for name, column in own.items()}
        bare = bare or (not own and sizes[kind] > 0)
        for name, values in _masks(data[kind], sizes[kind], where).items():
            fields.setdefault(name, {})[kind] = values
        target = None if "y" in ignore else _target(data[kind])
        if target is not None:
            fields.setdefault("y", {})[kind] = target
    pairs: list[np.ndarray] = []
    edges: dict[str, Column] = {}
    codes: list[np.ndarray] = []
    for kind in sorted(data.edge_types):
        name, store = " ".join(kind), data[kind]
        where = f"graph {index}, edges {name!r}"
        pair = _edge_index(store, where, sizes[kind[0]], sizes[kind[2]])
        rows = np.arange(pair.shape[1]) + sum(p.shape[1] for p in pairs)
        own = _arrays(store, ("edge_attr", "edge_weight"), pair.shape[1], ignore, where)
        edges |= {f"{name}.{key}": Column(column.values, rows) for key, column in own.items()}
        pairs.append(pair + np.array([[offsets[kind[0]]], [offsets[kind[2]]]]))
        codes.append(np.full(pair.shape[1], edge_types.index(name)))
    if pairs:
        kind_of_edge = np.concatenate(codes)[:, None] == np.arange(len(edge_types))
        edges["type"] = Column(kind_of_edge.astype(np.float32))
    targets = fields.pop("y", {})
    return PlainGraph(
        labels=[(kind, i) for kind in kinds for i in range(sizes[kind])],
        edge_index=np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1),
        directed=True,
        nodes=nodes,
        edges=edges,
        node_type=np.repeat([node_types.index(kind) for kind in kinds], list(sizes.values())),
        bare=bare,
        y=_spread(targets, sizes) if targets else _target(data._global_store),
        masks={name: _spread(values, sizes) for name, values in fields.items()},
    )


def _num_nodes(store: Data | BaseStorage) -> int:
    for name in ("x", "pos"):
        if isinstance(store.get(name), Tensor):
            return int(store[name].shape[0])
    with warnings.catch_warnings():
        # PyG warns when it has to read the number off edge_index; here that is a documented rule.
        warnings.simplefilter("ignore")
        return int(store.num_nodes or 0)


def _edge_index(store: Data | BaseStorage, where: str, sources: int, targets: int) -> np.ndarray:
    pair = store.get("edge_index")
    if pair is None and store.get("adj_t") is not None:
        pair = to_edge_index(store["adj_t"])[0].flip(0)
    if pair is None:
        return np.zeros((2, 0), np.int64)
    if pair.ndim != 2 or pair.shape[0] != 2 or pair.is_floating_point():
        raise ValueError(f"{where}: edge_index must be integers of shape [2, E] (got {list(pair.shape)})")
    edges = pair.detach().cpu().numpy().astype(np.int64, copy=False)
    wrong = (edges < 0) | (edges >= np.array([[sources], [targets]]))
    if wrong.any():
        end, edge = np.argwhere(wrong)[0].tolist()
        size = (sources, targets)[end]
        raise ValueError(f"{where}: edge {edge} names node {edges[end, edge]}, but there are {size}")
    return edges


def _arrays(
    store: Data | BaseStorage, names: tuple[str, ...], length: int, ignore: Collection[str], where: str
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name in names:
        tensor = store.get(name)
        if tensor is None or name in ignore:
            continue
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{where}: {name} must be a tensor (got {type(tensor).__name__})")
        tensor = tensor.detach().cpu()
        dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
        dense = dense.unsqueeze(1) if dense.ndim == 1 else dense
        if dense.ndim != 2 or len(dense) != length:
            raise ValueError(f"{where}: {name} must have shape [{length}, F] (got {list(tensor.shape)})")
        if dense.dtype in (torch.bool, torch.float16, torch.bfloat16):
            dense = dense.float()
        if dense.shape[1]:
            columns[name] = Column(dense.numpy())
    return columns


def _masks(store: Data | BaseStorage, num_nodes: int, where: str) -> dict[str, Tensor]:
    found = {name: store[name] for name in store.keys() if str(name).endswith("_mask")}  # noqa: SIM118
    tensors = {name: mask.detach().cpu() for name, mask in found.items() if isinstance(mask, Tensor)}
    for name, mask in tensors.items():
        if mask.dtype == torch.bool and mask.ndim and len(mask) != num_nodes:
            raise ValueError(f"{where}: {name} has {len(mask)} entries, but there are {num_nodes} nodes")
    return {name: mask for name, mask in tensors.items() if mask.dtype == torch.bool}


def _target(store: Data | BaseStorage) -> Tensor | None:
    y = store.get("y")
    if y is None:
        return None
    return (
        torch.as_tensor(y).detach().cpu().reshape(1) if np.ndim(y) == 0 else torch.as_tensor(y).detach().cpu()
    )


def _spread(parts: dict[str, Tensor], sizes: dict[str, int]) -> Tensor:
    """A field that some node types have, for all nodes."""
    first = next(iter(parts.values()))
    for kind, part in parts.items():
        if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype or len(part) != sizes[kind]:
            raise ValueError(
                f"nodes {kind!r} have a field of shape {list(part.shape)} ({part.dtype}), other types have "
                f"{list(first.shape)} ({first.dtype}); one shape and dtype is needed, or ignore=('y',)"
            )
    fill = float("nan") if first.is_floating_point() else 0 if first.dtype == torch.bool else -1
    blanks = {kind: first.new_full((size, *first.shape[1:]), fill) for kind, size in sizes.items()}
    return torch.cat([parts.get(kind, blanks[kind]) for kind in sizes])

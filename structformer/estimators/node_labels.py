"""Labels and masks of the nodes of one graph, in every form in which people have them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from jaxtyping import Bool
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

Nodes = Sequence[Hashable]


def node_labels(
    y: Any, graph: Any, nodes: Nodes, name: str = "y"
) -> tuple[np.ndarray, Bool[np.ndarray, " nodes"]]:
    """Return one label a node, and for which nodes it is known.

    Args:
        y: A dict from node to label; or a list, array, tensor or Series in the order of the nodes; or the
            name of a node attribute of a networkx graph. None, NaN and -1 are unknown.
        graph: The graph.
        nodes: Its nodes, as the user knows them.
        name: What messages call ``y``.

    Raises:
        ValueError: There are no labels, not one a node, or labels for nodes that the graph lacks.
    """
    if y is None:
        raise ValueError(f"{name} must be given: one label a node, or a dict from node to label (got None)")
    if isinstance(y, str):
        values = _attribute(graph, y)
    elif isinstance(y, Mapping):
        values = [y.get(node) for node in nodes]
        _check_known(y, nodes, name)
    else:
        values = y.detach().cpu().numpy() if isinstance(y, Tensor) else y
        values = values.tolist() if isinstance(values, np.ndarray | pd.Series) else list(values)
        if len(values) != len(nodes):
            raise ValueError(f"{name} has {len(values)} labels, but the graph has {len(nodes)} nodes")
    if any(isinstance(value, list) and len(value) != 1 for value in values):
        raise ValueError(f"{name} must hold one label a node (got several)")
    flat = [value[0] if isinstance(value, list) else value for value in values]
    unknown = np.array([_is_unknown(value) for value in flat], dtype=bool)
    known = [value for value in flat if not _is_unknown(value)]
    if not known:
        raise ValueError(f"{name} has no known label: None, NaN and -1 mark unknown ones")
    read = np.asarray(known)
    if read.dtype.kind == "f" and (read == np.round(read)).all():
        read = read.astype(np.int64)  # a NaN among whole numbers makes them all floats
    check_classification_targets(read)
    labels = np.zeros(len(flat), dtype=read.dtype)
    labels[~unknown] = read
    return labels, ~unknown


def node_mask(mask: Any, nodes: Nodes, name: str) -> Bool[np.ndarray, " nodes"]:
    """Return True for each node that a mask names.

    Args:
        mask: True or False for each node in order, or a dict from node to True or False.
        nodes: The nodes, as the user knows them.
        name: What messages call the mask.

    Raises:
        ValueError: The mask has another length, other values, or names nodes that the graph lacks.
    """
    if isinstance(mask, Mapping):
        _check_known(mask, nodes, name)
        mask = [mask.get(node, False) for node in nodes]
    values = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if values.ndim != 1:
        raise ValueError(
            f"{name} must hold one value a node (got shape {list(values.shape)}); pick one split"
        )
    if len(values) != len(nodes):
        raise ValueError(f"{name} has {len(values)} entries, but the graph has {len(nodes)} nodes")
    odd = [value for value in values.tolist() if value not in (True, False)]
    if odd:
        raise ValueError(f"{name} must be True or False for each node (got {odd[0]!r})")
    return values.astype(bool)


def train_and_eval(
    train_mask: Any, eval_mask: Any, nodes: Nodes, known: Bool[np.ndarray, " nodes"]
) -> tuple[Bool[np.ndarray, " nodes"], Bool[np.ndarray, " nodes"]]:
    """Return which nodes to learn from and which to watch.

    Args:
        train_mask: A mask, or None for all known labels that ``eval_mask`` does not name.
        eval_mask: A mask, or None for no node.
        nodes: The nodes, as the user knows them.
        known: Nodes whose labels are known.

    Raises:
        ValueError: A mask cannot be used, names a node whose label is unknown, or the two overlap.
    """
    held = np.zeros_like(known) if eval_mask is None else node_mask(eval_mask, nodes, "eval_mask")
    train = known & ~held if train_mask is None else node_mask(train_mask, nodes, "train_mask")
    for name, mask in (("train_mask", train), ("eval_mask", held)):
        blank = mask & ~known
        if blank.any():
            node = nodes[int(np.argmax(blank))]
            raise ValueError(f"{name} includes node {node!r}, whose label is unknown (None, NaN or -1)")
    if not train.any():
        raise ValueError("train_mask includes no node: some labels must be known")
    both = train & held
    if both.any():
        raise ValueError(f"train_mask and eval_mask both include node {nodes[int(np.argmax(both))]!r}")
    return train, held


def repeating_attributes(graph: Any, labels: np.ndarray, known: Bool[np.ndarray, " nodes"]) -> list[str]:
    """Return the node attributes of a networkx graph that are the target under another name.

    Such an attribute has one value for each class, for every node whose label is known; fewer than three known
    labels a class say too little to tell.
    """
    if not isinstance(graph, nx.Graph):
        return []
    classes = np.unique(labels[known], return_inverse=True)[1]
    if known.sum() < 3 * (classes.max() + 1):
        return []
    names = {name for _, attributes in graph.nodes(data=True) for name in attributes}
    found: list[str] = []
    for name in sorted(map(str, names)):
        values = [repr(attributes.get(name)) for _, attributes in graph.nodes(data=True)]
        codes = np.unique(np.array(values)[known], return_inverse=True)[1]
        pairs = {(int(a), int(b)) for a, b in zip(codes, classes, strict=True)}
        if len(pairs) == codes.max() + 1 == classes.max() + 1:
            found.append(name)
    return found


def _attribute(graph: Any, name: str) -> list[Any]:
    if not isinstance(graph, nx.Graph):
        raise ValueError(
            f"y={name!r} names a node attribute, which only networkx graphs have; give the labels"
        )
    values = [attributes.get(name) for _, attributes in graph.nodes(data=True)]
    if all(value is None for value in values):
        there = sorted({str(key) for _, attributes in graph.nodes(data=True) for key in attributes})
        raise ValueError(f"no node has the attribute y={name!r}; the attributes are {there}")
    return values


def _check_known(named: Mapping[Any, Any], nodes: Nodes, name: str) -> None:
    there = set(nodes)
    strangers = [node for node in named if node not in there]
    if strangers:
        raise ValueError(f"{name} names node {strangers[0]!r}, which the graph does not have")


def _is_unknown(value: Any) -> bool:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str | bool):
        return False
    return bool(pd.isna(value)) or value == -1

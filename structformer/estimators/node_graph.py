"""The one graph that nodes are classified in: taken out of what was given, and known again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from structformer.tokenize.graphs import as_list
from structformer.tokens import TokenSet


def one_graph(graph: Any) -> Any:
    """Return the graph, also out of a list of one.

    Raises:
        ValueError: There are none or several.
    """
    graphs = as_list(graph)
    if len(graphs) > 1:
        raise ValueError(f"graph must be a single graph (got {len(graphs)}); GraphClassifier reads many")
    return graphs[0]


def fingerprint(tokens: TokenSet, names: Sequence[str]) -> str:
    """Return what tells a graph from others, however its nodes are ordered: the names and edges of its nodes.

    Of a graph without edges, whose nodes may be mere numbers, it is what they hold.
    """
    order = np.argsort(np.array(names), kind="stable")
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    said = hashlib.blake2b("\0".join(str(names[i]) for i in order.tolist()).encode(), digest_size=16)
    if tokens.edge_index is None or not tokens.edge_index.numel():
        said.update(np.ascontiguousarray(tokens.x.numpy()[order]).tobytes())
    else:
        edges = rank[tokens.edge_index.numpy()]
        said.update(np.ascontiguousarray(edges[:, np.lexsort(edges)]).tobytes())
    return said.hexdigest()

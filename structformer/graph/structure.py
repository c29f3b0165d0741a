"""Structure of a TokenGraph: its hubs, its communities, how mutual its edges are, and one head of it alone."""

import copy
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Int

if TYPE_CHECKING:
    from structformer.graph import TokenGraph


Strength = Literal["support", "weight"]
"""What makes an edge strong: how much it speaks for what was predicted, or how much is listened to along it."""


def by(graph: "TokenGraph", strength: Strength | None = None) -> "TokenGraph":
    """The graph whose weights are what makes an edge strong, in all steps; so pictures show it.

    Args:
        strength: "support" or "weight"; None is support where there is any, otherwise weight.

    Raises:
        ValueError: If ``strength`` is neither, or support is asked for and a step has none.
    """
    if strength not in (None, "support", "weight"):
        raise ValueError(f'strength must be "support", "weight" or None (got {strength!r})')
    steps = graph.steps
    known = all(step.support is not None for step in steps)
    if strength == "support" and not known:
        raise ValueError(
            "the graph has no support: it is not of an estimator that predicts, or was made without"
        )
    if strength == "weight" or not known:
        return graph
    *earlier, last = (step.with_weight(step.support) for step in steps)
    return last.with_steps(earlier)


def head(graph: "TokenGraph", index: int) -> "TokenGraph":
    """The same edges with the weights of one head.

    In earlier steps without that head the mean over heads stands for it.

    Args:
        index: The head, from 0.

    Raises:
        ValueError: If the graph has no weights for each head, or not that head.
    """
    if graph.weight is None or graph.weight.ndim == 1:
        raise ValueError("head needs a graph with weights for each head (this one has one weight an edge)")
    heads = graph.weight.shape[1]
    if not 0 <= index < heads:
        raise ValueError(f"index must be from 0 to {heads - 1}, the graph has {heads} heads (got {index})")
    other = graph.with_weight(graph.weight[:, index])
    return other.with_steps([_head_or_mean(step, index) for step in graph.earlier])


def _head_or_mean(graph: "TokenGraph", index: int) -> "TokenGraph":
    if graph.weight is None or graph.weight.ndim == 1:
        return copy.copy(graph)
    has_it = index < graph.weight.shape[1]
    return graph.with_weight(graph.weight[:, index] if has_it else graph.mean_weight())


def between(graph: "TokenGraph") -> sp.csr_matrix:
    """`[targets, sources]` mean weights in double precision, without self-loops and edges of weight zero."""
    weight = graph.mean_weight().detach().double().cpu().numpy()
    row, col = graph.row.cpu().numpy(), graph.col.cpu().numpy()
    kept = weight != 0
    if not graph.is_bipartite:
        kept &= row != col
    shape = (graph.num_targets, graph.num_sources)
    return sp.csr_matrix((weight[kept], (row[kept], col[kept])), shape=shape)


def hubs(graph: "TokenGraph", top: int | None = 10) -> pd.DataFrame:
    """The sources listened to most, by weighted out-degree; self-loops are left out.

    Args:
        top: How many to return; None for all.

    Returns:
        A DataFrame indexed by `token`, the source's position, the greatest first, with the columns
        `name` (where there are names); `weight`, the sum of its edges' mean weights; `share` of all
        such weight; `listeners`, the number of its edges whose weight is not zero.
    """
    if top is not None and top < 0:
        raise ValueError(f"top must not be negative (got {top})")
    weight = between(graph)
    heard = np.asarray(weight.sum(0)).ravel()
    listeners = np.bincount(weight.indices, minlength=graph.num_sources)
    order = np.argsort(-heard, kind="stable")[:top]
    names = graph.source_names if graph.is_bipartite else graph.names
    columns: dict[str, object] = {}
    if names is not None:
        # As objects: pandas' texts are UTF-8, which not every name can be.
        columns["name"] = pd.Series([names[i] for i in order.tolist()], order, dtype=object)
    total = heard.sum()
    columns["weight"] = heard[order]
    columns["share"] = heard[order] / total if total else np.zeros(len(order))
    columns["listeners"] = listeners[order]
    return pd.DataFrame(columns, index=order).rename_axis("token")


def reciprocity(graph: "TokenGraph") -> float:
    """Share of all weight that is mutual: Σ min(w_ij, w_ji) / Σ w_ij over pairs of different tokens.

    For an unweighted graph the share of edges whose reverse is there too (Squartini et al. 2013,
    arXiv 1208.4208). Weights are taken as not negative.

    Returns:
        A number in [0, 1], or nan if no edge counts.

    Raises:
        ValueError: If the graph is bipartite.
    """
    if graph.is_bipartite:
        raise ValueError("reciprocity needs a graph whose sources are its targets (got a bipartite one)")
    weight = between(graph)
    total = float(weight.sum())
    # The smaller of the two weights of every ordered pair, so that each mutual pair counts twice.
    return float(weight.minimum(weight.T).sum()) / total if total > 0 else float("nan")


def communities(graph: "TokenGraph", resolution: float = 1.0, seed: int = 0) -> Int[np.ndarray, "nodes"]:
    """Communities of tokens that listen to each other more than to the rest, by Louvain's method.

    Modularity of the weights of both directions added, self-loops and negative weights left out
    (Blondel et al. 2008, arXiv 0803.0476). The same seed gives the same communities.

    Args:
        resolution: Above 1 for more and smaller communities, below for fewer and larger.
        seed: Seed of the order in which tokens are moved.

    Returns:
        `[tokens]` number of each token's community, 0 the largest; of a bipartite graph
        `[targets + sources]`, the sources after the targets. A token without edges is alone.

    Raises:
        ValueError: If `resolution` is not greater than 0.
    """
    if not resolution > 0:
        raise ValueError(f"resolution must be greater than 0 (got {resolution})")
    return partition(undirected_matrix(graph), resolution, seed)


def undirected_matrix(graph: "TokenGraph") -> sp.csr_matrix:
    """`[nodes, nodes]` weights of both directions added; a bipartite graph's sources follow its targets."""
    weight = between(graph).tocoo()
    offset = graph.num_targets if graph.is_bipartite else 0
    nodes = offset + graph.num_sources
    one_way = sp.csr_matrix((weight.data, (weight.row, weight.col + offset)), shape=(nodes, nodes))
    return sp.csr_matrix(one_way + one_way.T)


def partition(matrix: sp.csr_matrix, resolution: float = 1.0, seed: int = 0) -> np.ndarray:
    """`[nodes]` number of each node's community, 0 the largest; nodes without an edge are alone.

    scikit-network's Louvain, some twenty times as fast as networkx's: a tenth of a second for 10⁵ edges.
    """
    from sknetwork.clustering import Louvain

    matrix = sp.csr_matrix(matrix.maximum(0))
    matrix.eliminate_zeros()
    if not matrix.nnz:
        return np.arange(len(matrix.indptr) - 1)
    louvain = Louvain(
        resolution=resolution, modularity="newman", shuffle_nodes=True, sort_clusters=False, random_state=seed
    )
    _, first, found = np.unique(louvain.fit_predict(matrix), return_index=True, return_inverse=True)
    # Numbered by size, and among equals by their first token.
    order = np.lexsort([first, -np.bincount(found)])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[found]

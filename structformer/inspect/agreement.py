"""Agreement of a learned graph with the true one, and of several learned graphs with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from structformer.graph import TokenGraph


def edge_agreement(
    graph: TokenGraph, truth: TokenGraph | nx.Graph, *, directed: bool = False
) -> pd.DataFrame:
    """Tabulate, step by step, how well the learned weights tell true edges from all other pairs of tokens.

    Every pair of different tokens of the same set counts; a pair that the learned graph does not join has weight 0.
    Memory is that of the edges: the pairs that neither graph joins count together.

    Args:
        graph: The learned graph; its earlier steps are included.
        truth: The true graph over the same tokens: a `TokenGraph`, or a networkx graph. Where both have names, tokens
            are matched by them, otherwise by their order.
        directed: Tell j → i from i → j. Otherwise a pair is true where either direction is, and its learned weight is
            the larger of both.

    Returns:
        A frame indexed by ``step`` (1 is the first): ``roc_auc``, the probability that a true pair outweighs another
        (ties count half); ``average_precision``; ``precision``, the share of true pairs among the heaviest, as many as
        are true; ``recall``, the share of true pairs that the graph joins at all; and ``chance``, the share of pairs
        that are true, to which precision is to be compared.

    Raises:
        ValueError: The graphs are not over the same tokens, a graph is bipartite, or all pairs are true or none is.
    """
    pairs = _count(graph) // (1 if directed else 2)
    true: Any = _pairs(_matched(truth, graph), directed).astype(bool)
    positive = int(true.nnz)
    if not 0 < positive < pairs:
        raise ValueError(
            f"truth must join some pairs of tokens and leave others apart (got {positive} of {pairs})"
        )
    rows: list[dict[str, float]] = []
    for step in graph.steps:
        learned = _pairs(_matrix(step), directed)
        both: Any = (learned + true.astype(np.float64)).tocoo()  # the union of the two patterns
        label = np.asarray(true[both.row, both.col]).ravel()
        score = np.asarray(learned[both.row, both.col]).ravel()
        # All pairs that neither graph joins are one entry of score 0 that counts as often as they are.
        label, score = np.append(label, False), np.append(score, 0.0)
        count = np.append(np.ones(both.nnz), pairs - both.nnz)
        heaviest = np.argsort(-score, kind="stable")[:positive]
        rows.append(
            {
                "roc_auc": float(roc_auc_score(label, score, sample_weight=count)),
                "average_precision": float(average_precision_score(label, score, sample_weight=count)),
                "precision": float((label & (score > 0))[heaviest].sum() / positive),
                "recall": float((label & (score > 0)).sum() / positive),
                "chance": positive / pairs,
            }
        )
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="step"))


def stability(graphs: Sequence[TokenGraph] | Mapping[Any, TokenGraph]) -> pd.DataFrame:
    """Tabulate how far graphs over the same tokens agree with each other, pair by pair.

    Give the graphs of models with different seeds to see what of a picture is chance, or ``graph.steps`` to see how the
    graph settles.

    Args:
        graphs: At least two; a mapping names them. Where all have names, tokens are matched by them. Of each the
            last step counts, and edges from a token to itself do not.

    Returns:
        A frame indexed by the pair (``first``, ``second``): ``shared``, edges of both over edges of either; ``cosine``
        of the weights; and ``rank_correlation`` (Spearman) of the weights of edges that both have, nan where these are
        fewer than two or weigh the same.

    Raises:
        ValueError: There are fewer than two graphs, or they are not over the same tokens.
    """
    named = dict(graphs) if isinstance(graphs, Mapping) else dict(enumerate(graphs, start=1))
    if len(named) < 2:
        raise ValueError(f"graphs must be at least two (got {len(named)})")
    first = next(iter(named.values()))
    matrices = {name: _no_loops(_matched(graph, first), first) for name, graph in named.items()}
    rows = {(a, b): _likeness(matrices[a], matrices[b]) for a, b in combinations(named, 2)}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(list(rows), names=["first", "second"])
    return frame


def _likeness(a: sp.csr_matrix, b: sp.csr_matrix) -> dict[str, float]:
    in_a, in_b = a.astype(bool), b.astype(bool)
    common: Any = in_a.multiply(in_b).tocoo()
    either = in_a.nnz + in_b.nnz - common.nnz
    size = sp.linalg.norm(a) * sp.linalg.norm(b)
    weights = [np.asarray(matrix[common.row, common.col]).ravel() for matrix in (a, b)]
    varied = common.nnz > 1 and all(np.ptp(values) > 0 for values in weights)
    correlation: Any = spearmanr(weights[0], weights[1]) if varied else (np.nan,)
    return {
        "shared": common.nnz / either if either else np.nan,
        "cosine": float(a.multiply(b).sum() / size) if size else np.nan,
        "rank_correlation": float(correlation[0]),
    }


def _matched(graph: TokenGraph | nx.Graph, like: TokenGraph) -> sp.csr_matrix:
    """Return the weights [targets, sources] of a graph, its tokens in the order of another's."""
    if isinstance(graph, nx.Graph):
        graph = TokenGraph.from_networkx(graph)
    sides = [
        ("targets", graph.num_targets, graph.names, like.num_targets, like.names),
        (
            "sources",
            graph.num_sources,
            graph.source_names or graph.names,
            like.num_sources,
            like.source_names or like.names,
        ),
    ]
    places: list[np.ndarray] = []
    for side, count, names, wanted, as_names in sides:
        if names is None or as_names is None or len(set(names)) < count or len(set(as_names)) < wanted:
            if count != wanted:
                raise ValueError(f"graphs must be over the same tokens (got {count} and {wanted} {side})")
            places.append(np.arange(count))
            continue
        differing = set(names) ^ set(as_names)
        if differing:
            raise ValueError(f"graphs must be over the same tokens; only one of them has {min(differing)!r}")
        place = {name: i for i, name in enumerate(names)}
        places.append(np.array([place[name] for name in as_names], dtype=np.int64))
    return sp.csr_matrix(_matrix(graph)[places[0]][:, places[1]])


def _matrix(graph: TokenGraph) -> sp.csr_matrix:
    return sp.csr_matrix(graph.to_scipy(), dtype=np.float64)


def _no_loops(matrix: sp.csr_matrix, graph: TokenGraph) -> sp.csr_matrix:
    if not graph.is_bipartite:
        matrix = sp.csr_matrix(matrix - sp.diags(matrix.diagonal()))
    matrix.eliminate_zeros()
    return matrix


def _pairs(matrix: sp.csr_matrix, directed: bool) -> sp.csr_matrix:
    """Return the weights of pairs of different tokens, those of unordered pairs above the diagonal."""
    if directed:
        pairs = sp.csr_matrix(matrix - sp.diags(matrix.diagonal()))
    else:
        pairs = sp.csr_matrix(sp.triu(matrix.maximum(matrix.T), k=1))
    pairs.eliminate_zeros()
    return pairs


def _count(graph: TokenGraph) -> int:
    """Return the ordered pairs of different tokens that share a set."""
    if graph.is_bipartite:
        raise ValueError(
            "graph must be over one kind of tokens, which listen to each other (got a bipartite graph)"
        )
    sizes = np.array([graph.num_targets]) if graph.ptr is None else graph.ptr.diff().cpu().numpy()
    return int((sizes * (sizes - 1)).sum())

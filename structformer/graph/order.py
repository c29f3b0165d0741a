"""TokenGraph in another order: its edges by source, and its tokens permuted."""

import copy
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from structformer.graph import TokenGraph


def permute(graph: "TokenGraph", perm: Int[Tensor, "tokens"]) -> "TokenGraph":
    """The same graph with its tokens in another order, earlier steps included.

    Args:
        perm: Token t of the result is token `perm[t]` of this graph, and of the same set.

    Raises:
        ValueError: If the graph is bipartite, or `perm` is no permutation of the tokens of each set.
    """
    tokens = torch.arange(graph.num_tokens, device=graph.col.device)
    if graph.is_bipartite:
        raise ValueError("permute needs a graph whose sources are its targets (got a bipartite one)")
    if perm.shape != tokens.shape or not torch.equal(perm.sort().values, tokens):
        raise ValueError(f"perm must hold each of the {graph.num_tokens} tokens once (got {perm.tolist()})")
    if graph.ptr is not None:
        home = torch.repeat_interleave(
            torch.arange(graph.ptr.numel() - 1, device=perm.device), graph.ptr.diff()
        )
        if not torch.equal(home[perm], home):
            token = int(perm[int((home[perm] != home).nonzero()[0])])
            raise ValueError(f"perm must keep every token in its set (token {token} leaves its own)")
    place = torch.empty_like(perm)
    place[perm] = tokens
    row, col = place[graph.row], place[graph.col]
    order = torch.argsort(row * graph.num_sources + col)
    degree = graph.rowptr.diff()[perm]
    other = copy.copy(graph)
    other.rowptr, other.col = torch.cat([degree.new_zeros(1), degree.cumsum(0)]), col[order]
    other.weight = None if graph.weight is None else graph.weight[order]
    other.given = None if graph.given is None else graph.given[order]
    other.support = None if graph.support is None else graph.support[order]
    other.names = None if graph.names is None else [graph.names[i] for i in perm.tolist()]
    if graph.labels is not None:
        labels, picked = graph.labels, perm.tolist()
        is_array = isinstance(labels, Tensor | np.ndarray)
        other.labels = labels[perm.cpu()] if is_array else [list(labels)[i] for i in picked]
    other.earlier = tuple(permute(step, perm) for step in graph.earlier)
    other._pattern = {}
    return other


@torch.library.custom_op("structformer::by_source", mutates_args=())
def by_source(rowptr: Tensor, col: Tensor, num_sources: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edges by source, as an operator that can be traced; scipy's counting sort is several times faster.

    Args:
        rowptr: Where each target's edges begin.
        col: Source of each edge.
        num_sources: Number of sources.

    Returns:
        As `TokenGraph.transpose`.
    """
    if col.device.type != "cpu":
        return by_source_sorting(rowptr, col, num_sources)
    edges = np.arange(col.numel(), dtype=np.int32 if col.numel() < 2**31 else np.int64)
    arrays = (edges, col.numpy(), rowptr.numpy())
    columns = sp.csr_matrix(arrays, shape=(rowptr.numel() - 1, num_sources)).tocsc()
    parts = (torch.from_numpy(part) for part in (columns.indptr, columns.indices, columns.data))
    rowptr_t, row_t, perm = (part.long() for part in parts)
    return rowptr_t, row_t, perm


@by_source.register_fake
def _(rowptr: Tensor, col: Tensor, num_sources: int) -> tuple[Tensor, Tensor, Tensor]:
    return rowptr.new_empty(num_sources + 1), col.new_empty(col.shape), col.new_empty(col.shape)


def by_source_sorting(rowptr: Tensor, col: Tensor, num_sources: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same on any device."""
    perm = torch.argsort(col, stable=True)
    counts = torch.bincount(col, minlength=num_sources)
    targets = torch.arange(rowptr.numel() - 1, device=col.device)
    row = torch.repeat_interleave(targets, rowptr.diff(), output_size=col.numel())
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), row[perm], perm

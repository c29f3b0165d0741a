"""The two kernels of sparse attention on a CSR pattern, each on two paths.

"csr" hands whole heads to MKL's sampled and sparse-times-dense products and never holds a vector an edge.
"gather" takes the edges in blocks, indexes both ends and reduces; it runs on any device and type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.segment import row_index

# Numbers of one gathered block, so that "gather" too holds O(1) of the edges' vectors at once.
BLOCK = 1 << 24


@dataclass(frozen=True)
class Pattern:
    """Which targets (rows) hear which sources (columns), and the same seen from the sources.

    Attributes:
        rowptr: `[targets + 1]` where each row begins.
        col: `[edges]` source of each edge.
        num_cols: Number of sources.
        graph: The graph that knows both views; None where one view is enough.
        flipped: Whether this is the view from the sources.
    """

    rowptr: Int[Tensor, "pointers"]
    col: Int[Tensor, "edges"]
    num_cols: int
    graph: TokenGraph | None = None
    flipped: bool = False

    @classmethod
    def of(cls, graph: TokenGraph) -> Pattern:
        """Return the pattern of a graph's rows."""
        return cls(*graph.compact, graph.num_sources, graph)

    @property
    def num_rows(self) -> int:
        """Number of targets."""
        return self.rowptr.numel() - 1

    @cached_property
    def row(self) -> Int[Tensor, "edges"]:
        """`[edges]` target of each edge."""
        if self.graph is not None and not self.flipped:
            return self.graph.row
        return row_index(self.rowptr, self.col.numel())

    def csr(self, values: Float[Tensor, "edges"]) -> Tensor:
        """A matrix [targets, sources] with these values, nothing copied."""
        size = self.num_rows, self.num_cols
        return torch.sparse_csr_tensor(self.rowptr, self.col, values, size=size, check_invariants=False)

    @cached_property
    def transposed(self) -> tuple[Pattern, Int[Tensor, "edges"]]:
        """The other view, and for each of its positions the position of the same edge in this one."""
        assert self.graph is not None
        rowptr_t, row_t, perm = self.graph.compact_transpose
        if not self.flipped:
            return Pattern(rowptr_t, row_t, self.num_rows, self.graph, flipped=True), perm
        return Pattern.of(self.graph), torch.argsort(perm)


def dot_kernel(
    query: Float[Tensor, "heads targets channels"],
    key: Float[Tensor, "heads sources channels"],
    pattern: Pattern,
    path: str,
    scale: float = 1.0,
) -> Float[Tensor, "heads edges"]:
    """Return scale · ⟨query_i, key_j⟩ of every edge, outside autograd."""
    heads, edges = query.shape[0], pattern.col.numel()
    out = query.new_zeros(heads, edges)
    if out.numel() == 0 or query.shape[2] == 0:
        return out
    if path == "csr":
        for head in range(heads):
            # Added to itself, which is zero, the pattern is copied nowhere.
            into = pattern.csr(out[head])
            torch.sparse.sampled_addmm(into, query[head], key[head].t(), alpha=scale, out=into)
        return out
    for part in _blocks(edges, query[:, 0].numel()):
        a, b = query.index_select(1, pattern.row[part]), key.index_select(1, pattern.col[part])
        out[:, part] = (a * b).sum(-1)
    return out if scale == 1 else out.mul_(scale)


def sum_kernel(
    weights: Float[Tensor, "heads edges"],
    value: Float[Tensor, "heads sources channels"],
    pattern: Pattern,
    path: str,
    scale: float = 1.0,
) -> Float[Tensor, "heads targets channels"]:
    """Return scale · Σ_j weights_ij · value_j of every target, outside autograd."""
    heads, _, channels = value.shape
    shape = heads, pattern.num_rows, channels
    if weights.numel() == 0 or channels == 0:
        return value.new_zeros(shape)
    if path == "csr":
        out = value.new_empty(shape)
        for head in range(heads):
            matrix = pattern.csr(weights[head])
            torch.addmm(out[head], matrix, value[head], beta=0.0, alpha=scale, out=out[head])
        return out
    out = value.new_zeros(shape)
    for part in _blocks(weights.shape[1], value[:, 0].numel()):
        messages = value.index_select(1, pattern.col[part]) * weights[:, part, None]
        out.index_add_(1, pattern.row[part], messages)
    return out if scale == 1 else out.mul_(scale)


def _blocks(edges: int, numbers_each: int) -> list[slice]:
    step = max(1, BLOCK // numbers_each)
    return [slice(start, start + step) for start in range(0, edges, step)]

"""The two kernels of sparse attention on a CSR pattern, each on two paths.

"csr" hands whole heads to MKL's sampled and sparse-times-dense products and never holds a vector an edge.
"gather" takes the edges in blocks, indexes both ends and reduces; it runs on any device and type.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph

# Numbers of one gathered block, so that "gather" too holds O(1) of the edges' vectors at once.
BLOCK = 1 << 24


@dataclass(frozen=True)
class Pattern:
    """Which targets (rows) hear which sources (columns), and the same seen from the sources.

    Attributes:
        rowptr: `[targets + 1]` where each row begins.
        col: `[edges]` source of each edge.
        num_cols: Number of sources.
        graph: The graph that knows both views.
        flipped: Whether this is the view from the sources.
    """

    rowptr: Int[Tensor, "pointers"]
    col: Int[Tensor, "edges"]
    num_cols: int
    graph: TokenGraph
    flipped: bool = False

    @classmethod
    def of(cls, graph: TokenGraph) -> Pattern:
        """Return the pattern of a graph's rows."""
        return cls(graph.rowptr, graph.col, graph.num_sources, graph)

    @property
    def num_rows(self) -> int:
        """Number of targets."""
        return self.rowptr.numel() - 1

    @property
    def row(self) -> Int[Tensor, "edges"]:
        """`[edges]` target of each edge."""
        if not self.flipped:
            return self.graph.row
        return self.graph.col.index_select(0, self.graph.transpose[2])

    @cached_property
    def transposed(self) -> tuple[Pattern, Int[Tensor, "edges"]]:
        """The other view, and for each of its positions the position of the same edge in this one."""
        rowptr_t, row_t, perm = self.graph.transpose
        if not self.flipped:
            return Pattern(rowptr_t, row_t, self.num_rows, self.graph, flipped=True), perm
        return Pattern.of(self.graph), torch.argsort(perm)


@cache
def csr_available() -> bool:
    """Return whether this build of torch multiplies CSR matrices on the CPU (it needs MKL).

    torch says once a process that CSR tensors are in beta. What is used here is checked by our own
    tests, and a user who never asked for a CSR tensor cannot act on it: it is said here, unheard.
    """
    if not torch.backends.mkl.is_available():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()
    return True


def choose_path(path: str | None, *tensors: Tensor) -> str:
    """Return the path to take, checking a path that is asked for.

    Raises:
        ValueError: If the path is unknown, or "csr" is asked for where it cannot serve.
    """
    if path == "gather":
        return path
    if path not in (None, "csr"):
        raise ValueError(f'path must be "csr", "gather" or None (got {path!r})')
    possible = csr_available() and all(
        x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) for x in tensors
    )
    if possible:
        return "csr"
    if path == "csr":
        got = ", ".join(f"{x.dtype} on {x.device}" for x in tensors)
        raise ValueError(
            f'path "csr" needs floats on the CPU and a build of torch with MKL (got {got}); take "gather"'
        )
    return "gather"


def dot_kernel(
    query: Float[Tensor, "targets heads channels"],
    key: Float[Tensor, "sources heads channels"],
    pattern: Pattern,
    path: str,
) -> Float[Tensor, "heads edges"]:
    """Return ⟨query_i, key_j⟩ of every edge, outside autograd."""
    heads, edges = query.shape[1], pattern.col.numel()
    out = query.new_empty(heads, edges)
    if out.numel() == 0 or query.shape[2] == 0:
        return out.zero_()
    if path == "csr":
        query, key = _by_head(query), _by_head(key)
        zeros = _csr(pattern, query.new_zeros(edges))
        for head in range(heads):
            into = _csr(pattern, out[head])
            torch.sparse.sampled_addmm(zeros, query[head], key[head].t(), beta=0.0, out=into)
        return out
    row = pattern.row
    for part in _blocks(edges, query[0].numel()):
        a, b = query.index_select(0, row[part]), key.index_select(0, pattern.col[part])
        out[:, part] = (a * b).sum(-1).t()
    return out


def sum_kernel(
    weights: Float[Tensor, "heads edges"],
    value: Float[Tensor, "sources heads channels"],
    pattern: Pattern,
    path: str,
) -> Float[Tensor, "targets heads channels"]:
    """Return Σ_j weights_ij · value_j of every target, outside autograd."""
    heads, channels = value.shape[1:]
    if weights.numel() == 0 or channels == 0:
        return value.new_zeros(pattern.num_rows, heads, channels)
    if path == "csr":
        weights, value = weights.contiguous(), _by_head(value)
        out = value.new_empty(heads, pattern.num_rows, channels)
        for head in range(heads):
            torch.mm(_csr(pattern, weights[head]), value[head], out=out[head])
        return out.transpose(0, 1)
    out = value.new_zeros(pattern.num_rows, heads, channels)
    row = pattern.row
    for part in _blocks(weights.shape[1], value[0].numel()):
        messages = value.index_select(0, pattern.col[part]) * weights[:, part].t()[..., None]
        out.index_add_(0, row[part], messages)
    return out


def _by_head(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous()


def _csr(pattern: Pattern, values: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        pattern.rowptr,
        pattern.col,
        values,
        size=(pattern.num_rows, pattern.num_cols),
        check_invariants=False,
    )


def _blocks(edges: int, numbers_each: int) -> list[slice]:
    step = max(1, BLOCK // numbers_each)
    return [slice(start, start + step) for start in range(0, edges, step)]

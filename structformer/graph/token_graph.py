"""TokenGraph: a sparse directed graph over tokens, stored by target, with its weights and names.

Row i of the adjacency lists the sources that token i listens to, so `rowptr` and `col` are a CSR
matrix whose rows are targets: the message from j to i belongs to row i.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.graph import convert, export, html, order, stats, structure
from structformer.graph.labels import homophily
from structformer.graph.plot import draw, draw_steps

__all__ = ["TokenGraph"]

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class TokenGraph:
    """A directed graph over tokens in CSR form, rows being targets.

    The constructor takes its fields as they are: it is called several times in a training step.
    Data from outside goes through `from_edge_index`, `from_scipy`, `from_networkx` or `from_pyg`,
    which check it. Treat an instance as frozen: a changed graph is a new one.

    Attributes:
        rowptr: `[targets + 1]` where each target's edges begin; the last entry is the edge count.
        col: `[edges]` source of each edge, ascending inside a row.
        num_sources: Number of source tokens; differs from the number of targets when new tokens
            listen to known ones.
        weight: `[edges]` or `[edges, heads]`, or None for an unweighted graph.
        given: `[edges]` True where the edge came with the data, or None.
        names: One name for each target, or None.
        source_names: One name for each source. None means that sources and targets are the same
            tokens; a square graph with source names counts as bipartite.
        ptr: `[sets + 1]` boundaries of the targets' sets, or None for a single set.
        labels: One label for each target, for colouring and homophily, or None.
        source_labels: One label for each source of a bipartite graph, or None.
        earlier: The graphs of the steps before this one, oldest first.
        support: `[edges]` how much each edge speaks for what was predicted (`models.support`), of those into a
            token in sum one, or None where nothing was predicted.
    """

    rowptr: Int[Tensor, "rows"]
    col: Int[Tensor, "edges"]
    num_sources: int
    weight: Float[Tensor, "edges *heads"] | None = None
    given: Bool[Tensor, "edges"] | None = None
    names: list[str] | None = None
    source_names: list[str] | None = None
    ptr: Int[Tensor, "boundaries"] | None = None
    labels: Any = None
    source_labels: Any = None
    earlier: tuple["TokenGraph", ...] = ()
    support: Float[Tensor, "edges"] | None = None
    # What depends on the pattern alone; copies that differ only in weight share it.
    _pattern: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def num_targets(self) -> int:
        """Number of tokens that listen (rows)."""
        return self.rowptr.numel() - 1

    @property
    def num_tokens(self) -> int:
        """Number of targets; for a square graph, of tokens."""
        return self.num_targets

    @property
    def num_edges(self) -> int:
        """Number of stored edges, self-loops included."""
        return self.col.numel()

    @property
    def is_bipartite(self) -> bool:
        """Whether sources and targets are different tokens."""
        return self.num_sources != self.num_targets or self.source_names is not None

    @property
    def steps(self) -> tuple["TokenGraph", ...]:
        """The graphs of all steps, oldest first; this graph is the last."""
        return (*self.earlier, self)

    @property
    def row(self) -> Int[Tensor, "edges"]:
        """`[edges]` target of each edge, computed once."""
        if "row" not in self._pattern:
            targets = torch.arange(self.num_targets, device=self.col.device)
            self._pattern["row"] = torch.repeat_interleave(
                targets, self.rowptr.diff(), output_size=self.num_edges
            )
        return self._pattern["row"]

    @property
    def transpose(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"], Int[Tensor, "edges"]]:
        """The same edges by source, computed once: `(rowptr_t, row_t, perm)`.

        `rowptr_t` `[sources + 1]` says where each source's edges begin, `row_t` `[edges]` holds
        their targets, ascending inside a source, and `perm` `[edges]` maps each position of that
        order to the edge it came from, so that `weight[perm]` are the transposed weights.
        """
        if "transpose" not in self._pattern:
            self._pattern["transpose"] = order.by_source(self.rowptr, self.col, self.num_sources)
        return self._pattern["transpose"]

    @property
    def compact(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"]]:
        """`(rowptr, col)` as int32 where that holds them, computed once: sparse products take it as it is."""
        if "compact" not in self._pattern:
            self._pattern["compact"] = self._narrowed(self.rowptr), self._narrowed(self.col)
        return self._pattern["compact"]

    @property
    def compact_transpose(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"], Int[Tensor, "edges"]]:
        """`transpose` with its first two parts as in `compact`, computed once."""
        if "compact_transpose" not in self._pattern:
            rowptr_t, row_t, perm = self.transpose
            self._pattern["compact_transpose"] = self._narrowed(rowptr_t), self._narrowed(row_t), perm
        return self._pattern["compact_transpose"]

    def _narrowed(self, indices: Tensor) -> Tensor:
        fits = max(self.num_edges, self.num_sources, self.num_targets) < 2**31
        return indices.int() if fits else indices

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """Return what depends on the pattern alone, computed at the first call; copies by `with_weight` share it."""
        if name not in self._pattern:
            self._pattern[name] = compute()
        return self._pattern[name]

    def with_weight(self, weight: Float[Tensor, "edges *heads"] | None) -> "TokenGraph":
        """The same edges with other weights and no support; what was computed from the pattern is shared."""
        other = copy.copy(self)
        other.weight, other.support = weight, None
        return other

    def with_support(self, support: Float[Tensor, "edges"] | None) -> "TokenGraph":
        """The same edges and weights with other support; what was computed from the pattern is shared."""
        other = copy.copy(self)
        other.support = support
        return other

    def with_steps(self, earlier: Sequence["TokenGraph"]) -> "TokenGraph":
        """The same graph, remembering the graphs of the steps before it (oldest first)."""
        other = copy.copy(self)
        other.earlier = tuple(earlier)
        return other

    def to(self, device: torch.device | str) -> "TokenGraph":
        """A copy on `device`, earlier steps included."""
        other = copy.copy(self)
        for name in ("rowptr", "col", "weight", "support", "given", "ptr", "labels", "source_labels"):
            value = getattr(self, name)
            setattr(other, name, value.to(device) if isinstance(value, Tensor) else value)
        other.earlier = tuple(graph.to(device) for graph in self.earlier)
        other._pattern = {}
        return other

    @property
    def active(self) -> Bool[Tensor, "edges"]:
        """`[edges]` True where any head's weight is not zero, so everywhere in an unweighted graph.

        Sparsemax and entmax give many edges a weight of exactly zero: nothing is heard over those.
        """
        return stats.active(self)

    def mean_weight(self) -> Float[Tensor, "edges"]:
        """`[edges]` weight of each edge averaged over heads; ones when the graph has no weights."""
        if self.weight is None:
            return torch.ones(self.num_edges, device=self.col.device)
        return self.weight if self.weight.ndim == 1 else self.weight.mean(1)

    def to_edge_index(self) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, "edges *heads"] | None]:
        """`(edge_index, weight)` as in PyG: `[2, edges]` with sources in row 0 and targets in row 1."""
        return torch.stack([self.col, self.row]), self.weight

    def degree(self) -> Int[Tensor, "targets"]:
        """`[targets]` number of edges into each target."""
        return self.rowptr.diff()

    def effective_degree(self) -> Float[Tensor, "targets"]:
        """`[targets]` exp of the entropy: how many equal neighbours each target in effect listens to."""
        return self.entropy().exp()

    # What follows is written, with its documentation, in the module that its name is taken from.
    from_edge_index = classmethod(convert.from_edge_index)
    from_scipy = classmethod(convert.from_scipy)
    from_networkx = classmethod(convert.from_networkx)
    from_pyg = classmethod(convert.from_pyg)
    to_scipy = convert.to_scipy
    to_networkx = convert.to_networkx
    to_pyg = convert.to_pyg

    to_frame = export.to_frame
    to_parquet = export.to_parquet
    to_graphml = export.to_graphml
    to_gexf = export.to_gexf

    permute = order.permute
    pruned = stats.pruned
    head = structure.head
    by = structure.by

    entropy = stats.entropy
    homophily = homophily
    change = stats.change
    summary = stats.summarize
    hubs = structure.hubs
    communities = structure.communities
    reciprocity = structure.reciprocity

    plot = draw
    plot_steps = draw_steps
    _repr_html_ = html.to_html

    def __repr__(self) -> str:
        tokens = f"{self.num_targets} targets from {self.num_sources} sources"
        parts = [tokens if self.is_bipartite else f"{self.num_tokens} tokens", f"{self.num_edges} edges"]
        if self.weight is not None and not self.weight.is_meta and (zero := stats.num_inactive(self)):
            parts[-1] += f" ({zero} of weight zero)"
        if self.weight is not None and self.weight.ndim > 1:
            heads = self.weight.shape[1]
            parts.append(f"{heads} head{'' if heads == 1 else 's'}")
        if self.ptr is not None:
            sets = self.ptr.numel() - 1
            parts.append(f"{sets} set{'' if sets == 1 else 's'}")
        if self.earlier:
            parts.append(f"{len(self.steps)} steps")
        return f"TokenGraph({', '.join(parts)})"

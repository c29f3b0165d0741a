"""Statistics of a TokenGraph: active edges, entropy, change between steps, and a summary of all."""

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structformer.graph.labels import homophily

if TYPE_CHECKING:
    from structformer.graph import TokenGraph


def active(graph: "TokenGraph") -> Bool[Tensor, "edges"]:
    """See `TokenGraph.active`."""
    if graph.weight is None:
        return torch.ones_like(graph.col, dtype=torch.bool)
    carrying = graph.weight != 0
    return carrying if carrying.ndim == 1 else carrying.any(1)


def num_inactive(graph: "TokenGraph") -> int:
    """Number of edges whose weight is zero in every head."""
    return graph.num_edges - int(active(graph).sum())


def pruned(graph: "TokenGraph") -> "TokenGraph":
    """The graph of its `active` edges alone; so are earlier steps, each by its own weights."""
    keep = active(graph)
    kept_before = torch.cat([keep.new_zeros(1, dtype=torch.long), keep.cumsum(0)])
    other = copy.copy(graph)
    other.rowptr, other.col = kept_before[graph.rowptr], graph.col[keep]
    other.weight = None if graph.weight is None else graph.weight[keep]
    other.given = None if graph.given is None else graph.given[keep]
    other.support = None if graph.support is None else graph.support[keep]
    other.earlier = tuple(pruned(step) for step in graph.earlier)
    other._pattern = {}
    return other


def _row_sum(graph: "TokenGraph", values: Tensor) -> Tensor:
    return values.new_zeros(graph.num_targets).index_add(0, graph.row, values)


def entropy(graph: "TokenGraph") -> Float[Tensor, "targets"]:
    """`[targets]` entropy in nats of each target's weights, their mean over heads scaled to sum to 1."""
    weight = graph.mean_weight()
    total = _row_sum(graph, weight)
    listening = total > 0
    total = torch.where(listening, total, 1)
    share = weight / total[graph.row]
    # xlogy keeps 0 log 0 = 0, and the inner where keeps its gradient finite.
    plogp = torch.where(share > 0, share * torch.where(share > 0, share, 1).log(), 0)
    return -_row_sum(graph, plogp)


def _edge_keys(graph: "TokenGraph") -> Tensor:
    """One integer for each edge, ascending: target times sources plus source."""
    pattern = graph._pattern
    if "key" not in pattern:
        pattern["key"] = graph.row * graph.num_sources + graph.col
    return pattern["key"]


def change(graph: "TokenGraph", other: "TokenGraph") -> Float[Tensor, ""]:
    """How far the weights moved: ‖A − B‖²_F over the union of both supports, per target.

    The penalty of ReSSFormer on how fast the graph may change; differentiable in both graphs'
    weights. Weights per head are compared head by head and averaged when both graphs have as
    many heads, otherwise averaged first.

    Raises:
        ValueError: If the graphs are not over the same tokens.
    """
    sizes = (graph.num_targets, graph.num_sources)
    if (other.num_targets, other.num_sources) != sizes:
        raise ValueError(
            f"other must be over the same tokens, {sizes[0]} targets and {sizes[1]} sources "
            f"(got {other.num_targets} and {other.num_sources})"
        )
    a, b = graph.mean_weight(), other.mean_weight()
    if (
        graph.weight is not None
        and other.weight is not None
        and graph.weight.shape[1:] == other.weight.shape[1:]
    ):
        a, b = graph.weight, other.weight
    heads = a.shape[1] if a.ndim > 1 else 1
    scale = max(graph.num_targets, 1) * heads
    if graph.col is other.col:
        return (a - b).square().sum() / scale
    if graph.num_edges == 0 or other.num_edges == 0:
        return (a.square().sum() + b.square().sum()) / scale
    # Differences, not a² + b² − 2ab: the graphs of two steps are close, and that would cancel.
    key_a, key_b = _edge_keys(graph), _edge_keys(other)
    place = torch.searchsorted(key_b, key_a).clamp_(max=key_b.numel() - 1)
    shared = key_b[place] == key_a
    in_b = place[shared]
    only_b = torch.ones_like(key_b, dtype=torch.bool)
    only_b[in_b] = False
    moved = (a[shared] - b[in_b]).square().sum()
    return (moved + a[~shared].square().sum() + b[only_b].square().sum()) / scale


@dataclass(frozen=True)
class GraphSummary:
    """Statistics of a graph; prints as a small table.

    Attributes:
        tokens: Number of targets.
        sources: Number of sources.
        edges: Number of edges, self-loops included.
        inactive: Number of those whose weight is zero in every head.
        mean_degree: Edges for each target.
        effective_degree: Mean over targets of exp(entropy of their weights).
        self_weight: Share of all weight that lies on self-loops; None for a bipartite graph.
        homophily: Weighted share of edges that join equal labels; None without labels.
        change: ‖A(t) − A(t−1)‖²_F per target, for each pair of successive steps.
    """

    tokens: int
    sources: int
    edges: int
    inactive: int
    mean_degree: float
    effective_degree: float
    self_weight: float | None
    homophily: float | None
    change: tuple[float, ...]

    def rows(self) -> list[tuple[str, str]]:
        """What is known, as names and values to print."""
        lines = [("tokens", f"{self.tokens:,}")]
        if self.self_weight is None:
            lines = [("targets", f"{self.tokens:,}"), ("sources", f"{self.sources:,}")]
        lines.append(("edges", f"{self.edges:,}"))
        if self.inactive:
            lines.append(("of weight zero", f"{self.inactive:,}"))
        lines += [
            ("mean degree", f"{self.mean_degree:.2f}"),
            ("effective degree", f"{self.effective_degree:.2f}"),
        ]
        if self.self_weight is not None:
            lines.append(("self-weight", f"{self.self_weight:.1%}"))
        if self.homophily is not None:
            lines.append(("homophily", f"{self.homophily:.3f}"))
        if self.change:
            lines.append(("change by step", "  ".join(f"{value:.3g}" for value in self.change)))
        return lines

    def __str__(self) -> str:
        return "\n".join(f"{name:<17} {value}" for name, value in self.rows())


@torch.no_grad()
def summarize(graph: "TokenGraph") -> GraphSummary:
    """Size, degrees, self-weight, homophily and change between steps; prints as a small table."""
    weight = graph.mean_weight().detach().double()
    total = float(weight.sum())
    own = None
    if not graph.is_bipartite:
        own = float(weight[graph.row == graph.col].sum()) / total if total else 0.0
    has_labels = graph.labels is not None and (not graph.is_bipartite or graph.source_labels is not None)
    targets = graph.num_targets
    steps = graph.steps
    return GraphSummary(
        tokens=targets,
        sources=graph.num_sources,
        edges=graph.num_edges,
        inactive=num_inactive(graph),
        mean_degree=graph.num_edges / targets if targets else 0.0,
        effective_degree=float(graph.effective_degree().mean()) if targets else 0.0,
        self_weight=own,
        homophily=homophily(graph) if has_labels else None,
        change=tuple(float(change(b, a)) for a, b in pairwise(steps)),
    )

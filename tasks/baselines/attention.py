"""Attention among tokens as others do it: gathered messages, PyG's TransformerConv, dense matrices.

Every arm is made for one graph, holds the projections of queries, keys and values, and maps the tokens' features
`[tokens, width]` to `[tokens, width]`. What an arm needs of the graph is brought into its own form beforehand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import TransformerConv

from structformer.graph import TokenGraph


class ProjectedAttention(nn.Module, ABC):
    """Queries, keys and values by one linear map each, then attention as the subclass does it.

    Args:
        width: Features of a token, of heads · channels.
        heads: Attention heads.
        graph: Who may listen to whom.

    Raises:
        ValueError: If heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width, {width} (got {heads})")
        self.heads = heads
        self.graph = graph
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Return what each token heard, its heads side by side."""
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in self.project(x))
        return self.attend(query, key, value).flatten(1)

    def project(self, x: Float[Tensor, "tokens width"]) -> tuple[Tensor, ...]:
        """Return queries, keys and values, heads side by side."""
        return tuple(part(x) for part in self._projections())

    @abstractmethod
    def attend(
        self,
        query: Float[Tensor, "tokens heads channels"],
        key: Float[Tensor, "tokens heads channels"],
        value: Float[Tensor, "tokens heads channels"],
    ) -> Float[Tensor, "tokens heads channels"]:
        """Return the values each token heard, weighted by the softmax of scaled products."""

    def take_projections(self, other: ProjectedAttention) -> None:
        """Copy another arm's projections, so that both compute the same."""
        for own, its in zip(self._projections(), other._projections(), strict=True):
            own.load_state_dict(its.state_dict())

    def _projections(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.query, self.key, self.value


class GatherEinsum(ProjectedAttention):
    """Gather the neighbours' keys and values `[tokens, neighbors, heads, channels]`, then two einsums.

    Raises:
        ValueError: If tokens differ in their number of neighbours.
    """

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        super().__init__(width, heads, graph)
        degree = graph.degree()
        if not bool((degree == degree[0]).all()):
            low, high = int(degree.min()), int(degree.max())
            raise ValueError(f"graph must give every token as many neighbours (got {low} to {high})")
        self.neighbors = graph.col.view(graph.num_targets, -1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend by two einsums over gathered neighbours."""
        scores = torch.einsum("thc,tkhc->thk", query, key[self.neighbors]) / query.shape[2] ** 0.5
        return torch.einsum("thk,tkhc->thc", scores.softmax(-1), value[self.neighbors])


class DenseAttention(ProjectedAttention):
    """torch's scaled_dot_product_attention over all pairs of tokens, with −∞ where there is no edge."""

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        super().__init__(width, heads, graph)
        mask = torch.zeros(graph.num_targets, graph.num_sources, dtype=torch.bool)
        mask[graph.row, graph.col] = True
        self.mask: Tensor | None = mask

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend over all pairs."""
        query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=self.mask)[0].transpose(0, 1)


class CompleteAttention(DenseAttention):
    """The same without a mask: every token listens to all, whatever the graph says."""

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        ProjectedAttention.__init__(self, width, heads, graph)
        self.mask = None


class PygAttention(ProjectedAttention):
    """torch_geometric's TransformerConv (Shi et al. 2021, arXiv 2009.03509) without its skip connection."""

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        super().__init__(width, heads, graph)
        # The convolution has projections of its own.
        del self.query, self.key, self.value
        self.conv = TransformerConv(width, width // heads, heads=heads, concat=True, root_weight=False)
        # TransformerConv makes the map it never uses even so.
        self.conv.lin_skip.requires_grad_(False)
        self.edge_index, _ = graph.to_edge_index()

    def forward(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens width"]:
        """Return the convolution's output."""
        return self.conv(x, self.edge_index)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Not used: the convolution projects and attends in one."""
        raise NotImplementedError("TransformerConv projects by itself: call the module")

    def _projections(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.conv.lin_query, self.conv.lin_key, self.conv.lin_value

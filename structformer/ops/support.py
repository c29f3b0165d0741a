"""The edges whose weight is not zero: sparsemax and entmax leave most out, and each head leaves out others.

The heads' patterns become the blocks of one matrix [heads · targets, heads · sources], so that the kernels of
`structformer.ops.pattern` take every head's own edges in one call, as if there were a single head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.graph import TokenGraph

# Measured, 32 channels a head: with a greater share of weights above zero, or fewer weights in all, finding
# those above zero costs about what leaving the others out saves.
MOST = 0.6
FEWEST = 1 << 16


@dataclass(frozen=True)
class Support:
    """Where the weights of all heads are not zero.

    Attributes:
        place: `[support]` positions of these weights in `[heads, edges]`, counted row by row, ascending.
        graph: Their edges: source j of head h is source h · sources + j, and so are targets.
        shape: Number of heads, and of edges of each.
    """

    place: Int[Tensor, "support"]
    graph: TokenGraph
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        weights: Float[Tensor, "heads edges"],
        rowptr: Int[Tensor, "pointers"],
        col: Int[Tensor, "edges"],
        num_sources: int,
    ) -> Support | None:
        """Find the edges that carry weight; None where leaving the others out would not pay.

        Args:
            weights: One weight a head and edge.
            rowptr: Where each target's edges begin.
            col: Source of each edge.
            num_sources: Number of sources.
        """
        if weights.numel() < FEWEST or weights.count_nonzero() > MOST * weights.numel():
            return None
        heads, edges = weights.shape
        dtype = torch.int32 if heads * max(edges, num_sources) < 2**31 else torch.int64
        head = torch.arange(heads, dtype=dtype, device=col.device)[:, None]
        begins = torch.cat([(head * edges + rowptr[:-1]).flatten(), head.new_full((1,), heads * edges)])
        carrying = (weights != 0).flatten()
        counted = torch.cat([head.new_zeros(1), carrying.cumsum(0, dtype=dtype)])
        place = _positions(carrying)
        sources = (col + head * num_sources).flatten().index_select(0, place)
        graph = TokenGraph(counted.index_select(0, begins), sources, heads * num_sources)
        return cls(place, graph, (heads, edges))

    def pick(self, x: Tensor) -> Tensor:
        """Take from numbers `[heads, edges]` those of the support, `[1, support]`."""
        return x.flatten().index_select(0, self.place)[None]

    def put_back(self, x: Float[Tensor, "1 support"]) -> Float[Tensor, "heads edges"]:
        """Undo `pick`, with zeros for the edges that were left out."""
        return x.new_zeros(self.shape).flatten().scatter_(0, self.place, x[0]).view(self.shape)


def side_by_side(x: Float[Tensor, "heads tokens channels"]) -> Float[Tensor, "1 all channels"]:
    """Put the tokens of all heads into one, in the order in which the graph of a `Support` counts them."""
    return x.flatten(0, 1)[None]


def _positions(flags: Bool[Tensor, "n"]) -> Int[Tensor, "true"]:
    # Numpy does it without a branch for each flag, several times as fast.
    if flags.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(flags.numpy()))
    return flags.nonzero()[:, 0]

"""Attributes of the data's own edges, looked up along learned graphs."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.graph import TokenGraph


class EdgeFeatures:
    """Attributes of the data's own edges, looked up along any graph over the same tokens.

    Args:
        edge_index: [2, edges], source → target. Attributes of parallel edges are added up.
        attributes: [edges, features].
        num_tokens: Tokens of the packed batch.
    """

    def __init__(
        self,
        edge_index: Int[Tensor, "2 edges"],
        attributes: Float[Tensor, "edges features"],
        num_tokens: int,
    ) -> None:
        keys, place = torch.unique(edge_index[1] * num_tokens + edge_index[0], return_inverse=True)
        self.keys, self.num_tokens = keys, num_tokens
        self.values = attributes.new_zeros(len(keys), attributes.shape[1]).index_add_(0, place, attributes)

    def along(self, graph: TokenGraph) -> Float[Tensor, "edges features"]:
        """Return one row an edge of ``graph``: its attributes, or zeros where the data has no such edge."""
        if not len(self.keys):
            return self.values.new_zeros(graph.num_edges, self.values.shape[1])
        wanted = graph.row * self.num_tokens + graph.col
        place = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        found = self.keys[place] == wanted
        return self.values[place] * found[:, None].to(self.values.dtype)

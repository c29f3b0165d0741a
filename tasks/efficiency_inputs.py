"""What the efficiency benchmark feeds its arms: graphs and vectors drawn from a generator."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer import ops
from structformer.graph import TokenGraph

# Tokens that are each other's neighbours in a clustered graph.
CLUSTER = 256


def random_graph(tokens: int, neighbors: int, generator: torch.Generator) -> TokenGraph:
    """Let every token listen to so many different tokens from anywhere.

    Raises:
        ValueError: If there are fewer tokens than neighbours.
    """
    if not 1 <= neighbors <= tokens:
        raise ValueError(f"neighbors must be between 1 and the {tokens} tokens (got {neighbors})")
    # Sorted draws with repetition, spread by 0, 1, 2, ...: ascending and all different.
    drawn = torch.randint(tokens - neighbors + 1, (tokens, neighbors), generator=generator).sort(dim=1).values
    return _regular(drawn + torch.arange(neighbors))


def clustered_graph(tokens: int, neighbors: int, generator: torch.Generator) -> TokenGraph:
    """Let every token listen to the nearest of its own cluster; clusters lie scattered over the token order.

    It is the graph of nearest neighbours of clusters that are far apart, found in linear time.

    Raises:
        ValueError: If there are fewer tokens than neighbours.
    """
    if not 1 <= neighbors <= tokens:
        raise ValueError(f"neighbors must be between 1 and the {tokens} tokens (got {neighbors})")
    ptr = set_boundaries(tokens, max(CLUSTER, neighbors), whole=True)
    x = torch.randn(tokens, 16, generator=generator)
    near = ops.neighbors(x, x, neighbors, ptr, method="exact").col.view(tokens, neighbors)
    place = torch.randperm(tokens, generator=generator)
    return _regular(torch.empty_like(near).index_copy_(0, place, place[near].sort(dim=1).values))


def clustered_vectors(tokens: int, width: int, generator: torch.Generator) -> Float[Tensor, "tokens width"]:
    """Draw unit vectors from a mixture of Gaussians (up to 512) that overlap a little, in random order."""
    clusters = max(1, min(512, tokens // 128))
    centres = torch.randn(clusters, width, generator=generator)
    member = torch.randint(clusters, (tokens,), generator=generator)
    x = centres[member] + 0.5 * torch.randn(tokens, width, generator=generator)
    return nn.functional.normalize(x, dim=1)


def given_edges(
    h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"], neighbors: int
) -> Int[Tensor, "2 edges"]:
    """Return the edges that come with the data: nearest neighbours, at most a quarter of a set's tokens."""
    smallest = int(ptr.diff().min())
    graph = ops.neighbors(h, h, max(1, min(neighbors, smallest // 4)), ptr, method="exact", exclude_self=True)
    return graph.to_edge_index()[0]


def set_boundaries(tokens: int, size: int, whole: bool = False) -> Int[Tensor, "pointers"]:
    """Cut tokens into sets of one size, the last one smaller; or, with `whole`, the last one larger."""
    bounds = list(range(0, tokens, size))
    if whole and len(bounds) > 1 and tokens % size:
        bounds.pop()
    return torch.tensor([*bounds, tokens])


def batch_of(ptr: Int[Tensor, "pointers"]) -> Int[Tensor, "tokens"] | None:
    """Return the set of each token, or None where there is but one."""
    sets = ptr.numel() - 1
    return None if sets == 1 else torch.repeat_interleave(torch.arange(sets), ptr.diff())


def _regular(col: Int[Tensor, "tokens neighbors"]) -> TokenGraph:
    tokens, neighbors = col.shape
    rowptr = torch.arange(0, tokens * neighbors + 1, neighbors)
    return TokenGraph(rowptr, col.flatten(), num_sources=tokens)

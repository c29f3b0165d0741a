"""The space in which tokens are compared by what they hold, before anything is learned."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.ops import edge_dot, neighbors

MANY = 64
"""Features from which on most of them being at their least means that they count something, such as words."""

SPARSE = 0.8
"""Share of values at their least from which on that is so."""

DIMENSIONS = 32
"""Directions that counted features are seen in."""


class ContentSpace(nn.Module):
    """Compare tokens by their features, all of which weigh alike.

    A feature is measured from its least value in units of its range. Where there are many and most values are at their
    least, as with words, they are counts: they are weighed by their inverse document frequency, and seen along the
    principal directions (latent semantic analysis, Deerwester et al. 1990), as vectors of length 1. Otherwise they are
    coordinates, and distances are Euclidean.

    Args:
        features: Features of a raw token.
        dimensions: Directions that they are seen in; 0 takes coordinates as they are.
    """

    least: Tensor
    scale: Tensor
    directions: Tensor

    def __init__(self, features: int, dimensions: int = 0) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.register_buffer("least", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("directions", torch.zeros(features, dimensions))

    @classmethod
    def fit(cls, x: Float[Tensor, "tokens features"]) -> ContentSpace:
        """Measure training tokens."""
        x = x.double()
        least, most = x.amin(0), x.amax(0)
        # A feature that never changes tells nothing.
        scale = torch.where(most > least, 1 / (most - least).clamp(min=1e-30), 0.0)
        parts = (x - least) * scale
        there = parts > 0
        counted = x.shape[1] >= MANY and float((~there).double().mean()) >= SPARSE
        dimensions = min(DIMENSIONS, x.shape[1], len(x)) if counted else 0
        self = cls(x.shape[1], dimensions)
        if dimensions:
            scale = scale * (((1 + len(x)) / (1 + there.sum(0))).log() + 1)
            self.directions.copy_(_principal(F.normalize((x - least) * scale, dim=1), dimensions))
        self.least.copy_(least)
        self.scale.copy_(scale)
        return self

    def forward(self, x: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens dimensions"]:
        """Return where tokens are; near is alike."""
        place = (x - self.least) * self.scale
        return F.normalize(F.normalize(place, dim=1) @ self.directions, dim=1) if self.dimensions else place

    @torch.no_grad()
    def graph(
        self,
        x: Float[Tensor, "tokens features"],
        k: int,
        ptr: Int[Tensor, "pointers"] | None = None,
        given: TokenGraph | None = None,
        method: str = "auto",
    ) -> TokenGraph:
        """Link tokens to their k nearest, and these to them, to themselves, and along given edges.

        A learned edge weighs κ_ij = exp(−d_ij² / (σ_i σ_j)), where σ is the distance of the k-th nearest (self-tuning:
        Zelnik-Manor and Perona 2004), others weigh 1.

        Args:
            x: Raw features.
            k: Nearest tokens that each is linked to.
            ptr: Boundaries of the sets; None is one set.
            given: The data's own edges, marked in the result.
            method: How neighbours are found; see `structformer.ops.neighbors`.
        """
        place = self(x)
        if not self.dimensions:
            place = place - 0.5  # their middle: small numbers lose least
        # ‖a − b‖² = ‖a‖² − (2⟨a, b⟩ − ‖b‖²): the nearest have the largest product of these.
        square = place.square().sum(1, keepdim=True)
        query = torch.cat([place, torch.ones_like(square)], dim=1)
        key = torch.cat([2 * place, -square], dim=1)
        near = neighbors(query, key, k, ptr, exclude_self=True, method=method)
        distance = (square[near.row] - edge_dot(query[:, None], key[:, None], near)).clamp(min=0).squeeze(1)
        width = torch.zeros_like(square[:, 0]).scatter_reduce(0, near.row, distance, "amax").sqrt()
        kernel = (-distance / (width[near.row] * width[near.col]).clamp(min=1e-12)).exp()
        return _joined(near, kernel, given, ptr)

    def extra_repr(self) -> str:
        """Show what is compared where the module is printed."""
        return f"features={len(self.least)}, dimensions={self.dimensions}"


def _principal(x: Float[Tensor, "tokens features"], dimensions: int) -> Float[Tensor, "features dimensions"]:
    """Return the principal directions, by subspace iteration from a fixed start; no order of the tokens matters."""
    generator = torch.Generator().manual_seed(0)
    # More than are wanted, which makes those that are wanted exact sooner.
    basis = torch.randn(x.shape[1], min(x.shape[1], 2 * dimensions), generator=generator, dtype=x.dtype)
    for _ in range(8):
        basis = torch.linalg.qr(x.T @ (x @ basis))[0]
    # Turned so that the first directions tell most.
    turn = torch.linalg.svd(x @ basis, full_matrices=False)[2]
    return basis @ turn.T[:, :dimensions]


def _joined(
    near: TokenGraph,
    kernel: Float[Tensor, "edges"],
    given: TokenGraph | None,
    ptr: Int[Tensor, "pointers"] | None,
) -> TokenGraph:
    """Join learned edges both ways, self-loops and given edges."""
    tokens = near.num_targets
    self_loops = torch.arange(tokens, device=near.col.device)
    parts = [
        (near.col, near.row, kernel, False),
        (near.row, near.col, kernel, False),
        (self_loops, self_loops, kernel.new_ones(tokens), False),
    ]
    if given is not None:
        parts.append((given.col, given.row, kernel.new_ones(given.num_edges), True))
    key = torch.cat([row * tokens + col for col, row, _, _ in parts])
    found, place = torch.unique(key, return_inverse=True)
    weight = kernel.new_zeros(len(found)).scatter_reduce(
        0, place, torch.cat([w for *_, w, _ in parts]), "amax"
    )
    mark = torch.cat([torch.full_like(row, known, dtype=torch.bool) for _, row, _, known in parts])
    is_given: Bool[Tensor, "edges"] = torch.zeros_like(found, dtype=torch.bool)
    is_given[place[mark]] = True
    row, col = found // tokens, found % tokens
    rowptr = torch.cat([row.new_zeros(1), row.bincount(minlength=tokens).cumsum(0)])
    joined = TokenGraph(rowptr, col, tokens, weight=weight, ptr=ptr)
    joined.given = is_given if given is not None else None
    return joined

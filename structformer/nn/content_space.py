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


class ContentSpace(nn.Module):
    """Compare tokens by their features, all of which weigh alike.

    A feature is measured from its least value in units of its range, and distances are Euclidean. But where there are
    many and most values are at their least, as with words, they count something. Then a token is what it has, however
    much of it, as a vector of length 1: a feature that it has weighs √(1 + idf), so that one which two tokens share
    adds 1 + idf to their likeness, idf = log((1 + n) / (1 + n_f)) of n training tokens, n_f of which have it. How often
    a word stands somewhere tells less than that it does, and the values may have been weighed before, as PubMed's are.

    Args:
        features: Features of a raw token.
        counted: Whether they count something.
    """

    least: Tensor
    scale: Tensor

    def __init__(self, features: int, counted: bool = False) -> None:
        super().__init__()
        self.counted = counted
        self.register_buffer("least", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @classmethod
    def fit(cls, x: Float[Tensor, "tokens features"]) -> ContentSpace:
        """Measure training tokens."""
        x = x.double()
        least, most = x.amin(0), x.amax(0)
        there = x > least
        self = cls(x.shape[1], x.shape[1] >= MANY and float((~there).double().mean()) >= SPARSE)
        self.least.copy_(least)
        if self.counted:
            self.scale.copy_((((1 + len(x)) / (1 + there.sum(0))).log() + 1).sqrt())
        else:
            # A feature that never changes tells nothing.
            self.scale.copy_(torch.where(most > least, 1 / (most - least).clamp(min=1e-30), 0.0))
        return self

    def forward(self, x: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """Return where tokens are; near is alike."""
        if self.counted:
            return F.normalize((x > self.least) * self.scale, dim=1)
        return (x - self.least) * self.scale

    def readable(self, x: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens features"]:
        """Return features as a network should read them: of what a token counts what it has, by its weight."""
        return (x > self.least) * self.scale if self.counted else x

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
        if not self.counted:
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
        return f"features={len(self.least)}, counted={self.counted}"


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

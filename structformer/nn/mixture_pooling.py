"""Read-out of the parts of a set: a mixture of Gaussians fitted to its tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structformer.ops import gather, segment_max, segment_sum


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians for each set.

    Attributes:
        share: How much of a token belongs to each part of its set; sums to one.
        log_weight: Logarithm of a part's share of its set.
        mean: Where a part is.
        log_spread: Logarithm of a part's standard deviation along each channel.
    """

    share: Float[Tensor, "tokens parts"]
    log_weight: Float[Tensor, "sets parts"]
    mean: Float[Tensor, "sets parts channels"]
    log_spread: Float[Tensor, "sets parts channels"]

    NOTHING: ClassVar[float] = 1e-6  # tokens; a part of less has no mean to speak of

    @property
    def statistics(self) -> Float[Tensor, "sets parts numbers"]:
        """All that is known of a part but its tokens: weight, mean and spread, 1 + 2C numbers."""
        return torch.cat([self.log_weight[..., None], self.mean, self.log_spread], dim=2)

    def average(
        self, h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "sets parts width"]:
        """Return the mean of the tokens' vectors over each part; zeros for parts that have none."""
        total = segment_sum((self.share[..., None] * h[:, None]).flatten(1), ptr)
        amount = segment_sum(self.share, ptr).clamp(min=self.NOTHING)
        return total.unflatten(1, (self.share.shape[1], -1)) / amount[..., None]


class MixturePooling(nn.Module):
    """Fit a mixture of Gaussians to the tokens of each set, by rounds of expectation and maximisation.

    Parts begin at tokens far from each other: at the token farthest from the middle of its set, then each at the one
    farthest from those before (Gonzalez 1985). So no part need be told from the others by what was learned, as the
    seeds of attention pooling have to be. Rounds are those of Dempster et al. 1977 with a prior, whose weight and
    spread are learned; gradients go through all of them (as in Kim 2022, "Differentiable expectation-maximization for
    set representation learning"). Parts do not depend on the order of the tokens, nor does their own order.

    A set of fewer different tokens than parts has parts alike; those of an empty set are zeros of equal weight.

    Args:
        parts: Of a set.
        rounds: Of expectation and maximisation.
    """

    RATIO = 0.3  # of a part's first spread to its set's
    PRIOR = 0.1  # tokens that the prior counts for
    LEAST = 1e-2  # spread, so that equal tokens are no point of infinite density

    def __init__(self, parts: int, rounds: int = 4) -> None:
        super().__init__()
        if parts < 1:
            raise ValueError(f"parts must be at least 1 (got {parts})")
        if rounds < 1:
            raise ValueError(f"rounds must be at least 1 (got {rounds})")
        self.parts, self.rounds = parts, rounds
        self.log_ratio = nn.Parameter(torch.tensor(math.log(self.RATIO)))
        self.log_prior = nn.Parameter(torch.tensor(math.log(self.PRIOR)))

    def forward(self, place: Float[Tensor, "tokens channels"], ptr: Int[Tensor, "pointers"]) -> Mixture:
        """Return the parts of each set of tokens at these places."""
        channels = place.shape[1]
        prior, spread = self.log_prior.exp(), self._first_spread(place, ptr)
        mean = self._first_mean(place, ptr)
        square, log_weight = spread.expand_as(mean), torch.zeros_like(mean[..., 0])
        share = place.new_zeros(len(place), self.parts)
        for _ in range(self.rounds):
            share = self._share(place, ptr, log_weight, mean, square)
            amount = segment_sum(share, ptr) + prior
            drawn = segment_sum((share[..., None] * place[:, None]).flatten(1), ptr)
            mean = (drawn.unflatten(1, (-1, channels)) + prior * mean) / amount[..., None]
            away = place[:, None] - gather(mean, ptr)
            strewn = segment_sum((share[..., None] * away.square()).flatten(1), ptr)
            square = (strewn.unflatten(1, (-1, channels)) + prior * spread) / amount[..., None]
            log_weight = (amount / amount.sum(1, keepdim=True)).log()
        return Mixture(share, log_weight, mean, square.log() / 2)

    def extra_repr(self) -> str:
        """Show the parts where the module is printed."""
        return f"parts={self.parts}, rounds={self.rounds}"

    def _first_mean(
        self, place: Float[Tensor, "tokens channels"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "sets parts channels"]:
        empty = (ptr.diff() == 0)[:, None, None]
        if len(place) == 0:
            return place.new_zeros(len(empty), self.parts, place.shape[1])
        return place[farthest_first(place, ptr, self.parts)].masked_fill(empty, 0.0)

    def _first_spread(
        self, place: Float[Tensor, "tokens channels"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "sets 1 1"]:
        size = ptr.diff().clamp(min=1)[:, None].to(place.dtype)
        away = place - gather(segment_sum(place, ptr) / size, ptr)
        variance = (segment_sum(away.square(), ptr) / size).mean(1)
        return (variance * (2 * self.log_ratio).exp() + self.LEAST**2)[:, None, None]

    @staticmethod
    def _share(
        place: Float[Tensor, "tokens channels"],
        ptr: Int[Tensor, "pointers"],
        log_weight: Float[Tensor, "sets parts"],
        mean: Float[Tensor, "sets parts channels"],
        square: Float[Tensor, "sets parts channels"],
    ) -> Float[Tensor, "tokens parts"]:
        away = (place[:, None] - gather(mean, ptr)).square() / gather(square, ptr)
        return (gather(log_weight - square.log().sum(2) / 2, ptr) - away.sum(2) / 2).softmax(1)


@torch.no_grad()
def farthest_first(
    place: Float[Tensor, "tokens channels"], ptr: Int[Tensor, "pointers"], count: int
) -> Int[Tensor, "pointers-1 count"]:
    """Return numbers of tokens far from each other: each farthest from those before, the first from the middle.

    The middle is that of the least and the largest value of each channel. Of tokens equally far, the one is taken
    whose place is larger in the first channel in which they differ. So no rounding depends on the order of the tokens,
    and where those are that are chosen does not either. An empty set has token 0, which is not its own.
    """
    rank = torch.unique(place, dim=0, return_inverse=True)[1].double()
    number = torch.arange(len(place), dtype=torch.float64, device=place.device)
    middle = (segment_max(place, ptr) - segment_max(-place, ptr)) / 2
    nearest = (place - gather(middle, ptr)).square().sum(1)
    chosen: list[Int[Tensor, " sets"]] = []
    for _ in range(count):
        ranked = torch.where(_is_largest(nearest, ptr), rank, -1)
        # Tokens of the same rank are at the same place: any will do.
        chosen.append(segment_max(torch.where(_is_largest(ranked, ptr), number, -1), ptr).long())
        away = (place - gather(place[chosen[-1]], ptr)).square().sum(1)
        nearest = torch.minimum(nearest, away) if len(chosen) > 1 else away
    return torch.stack(chosen, dim=1)


def _is_largest(value: Float[Tensor, " tokens"], ptr: Int[Tensor, "pointers"]) -> Bool[Tensor, " tokens"]:
    return value == gather(segment_max(value, ptr), ptr)

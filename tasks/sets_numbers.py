"""Problems on sets of numbers: the largest of them, and the Gaussians they were drawn from."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from structformer.ops import segment_max, segment_sum

from .sets_problem import Problem, SetBatch, boundaries


class MaxRegression(Problem):
    """The largest of up to ten whole numbers from 1 to 99, by the mean absolute error (Lee et al. 2019, section 5.1).

    Tokens and outputs are in units of 25 around 50.
    """

    features = outputs = 1
    MOST, HIGHEST, CENTRE, UNIT = 10, 99, 50.0, 25.0

    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return sets whose sizes and numbers are uniform; parts differ by their generators alone."""
        ptr = boundaries(torch.randint(1, self.MOST + 1, (sets,), generator=drawn))
        value = torch.randint(1, self.HIGHEST + 1, (int(ptr[-1]), 1), generator=drawn).float()
        x = (value - self.CENTRE) / self.UNIT
        return SetBatch(x, ptr, segment_max(x, ptr))

    def loss(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return the mean absolute error."""
        return F.l1_loss(outputs, batch.target)

    def score(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> float:
        """Return minus the mean absolute error, in the numbers' own unit."""
        return -self.UNIT * float((outputs - batch.target).abs().mean())


class Mixture(Problem):
    """The four Gaussians from which 100 to 500 points were drawn (Lee et al. 2019, section 5.3).

    Weights are uniform (Dirichlet of 1), means uniform in [−4, 4]², the standard deviation is 0.3. What is said of a
    set are the weights, means and standard deviations of four Gaussians; it is judged by how likely they make the
    points of the set, in the mean over points and sets. Targets are those from which the points were drawn.
    """

    GAUSSIANS, FEWEST, MOST, REACH, SPREAD = 4, 100, 500, 4.0, 0.3
    features, outputs, parts, large = 2, 5 * GAUSSIANS, GAUSSIANS, True

    def draw(self, part: int, sets: int, drawn: torch.Generator) -> SetBatch:
        """Return sets of one size, which is drawn too; parts differ by their generators alone."""
        size = int(torch.randint(self.FEWEST, self.MOST + 1, (), generator=drawn))
        # Exponential numbers divided by their sum are of Dirichlet's distribution.
        weight = -torch.rand(sets, self.GAUSSIANS, generator=drawn).clamp(min=1e-30).log()
        mean = self.REACH * (2 * torch.rand(sets, self.GAUSSIANS, 2, generator=drawn) - 1)
        chosen = torch.multinomial(weight, size, replacement=True, generator=drawn)
        noise = torch.randn(sets, size, 2, generator=drawn)
        x = mean.gather(1, chosen[..., None].expand(-1, -1, 2)) + self.SPREAD * noise
        spread = torch.full_like(mean, self.SPREAD)
        target = torch.cat([(weight / weight.sum(1, keepdim=True)).log()[..., None], mean, spread], dim=2)
        ptr = size * torch.arange(sets + 1)
        return SetBatch(x.flatten(0, 1) / self.REACH, ptr, target)

    def loss(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return minus the log-likelihood."""
        return -self.likelihood(self.said(outputs), batch)

    def score(self, outputs: Float[Tensor, "sets outputs"], batch: SetBatch) -> float:
        """Return the log-likelihood."""
        return float(self.likelihood(self.said(outputs), batch))

    def said(self, outputs: Float[Tensor, "sets outputs"]) -> Float[Tensor, "sets gaussians 5"]:
        """Return what the outputs stand for: the logarithm of the weight, the mean and the standard deviations."""
        weight, mean, spread = outputs.unflatten(1, (self.GAUSSIANS, 5)).split([1, 2, 2], dim=2)
        return torch.cat(
            [weight.log_softmax(1), self.REACH * mean, F.softplus(spread).clamp(min=1e-3)], dim=2
        )

    def likelihood(self, gaussians: Float[Tensor, "sets gaussians 5"], batch: SetBatch) -> Float[Tensor, ""]:
        """Return the logarithm of the points' likelihood, in the mean over the points of a set and over sets."""
        weight, mean, spread = gaussians[batch.index].split([1, 2, 2], dim=2)
        away = (self.REACH * batch.x[:, None] - mean) / spread
        each = weight.squeeze(2) - (away.square() / 2 + spread.log()).sum(2) - math.log(2 * math.pi)
        points = each.logsumexp(1)
        return (segment_sum(points[:, None], batch.ptr).squeeze(1) / _sizes(batch.ptr, points)).mean()


def _sizes(ptr: Int[Tensor, "pointers"], like: Tensor) -> Float[Tensor, " sets"]:
    return ptr.diff().to(like.dtype)

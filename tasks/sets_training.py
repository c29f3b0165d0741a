"""How networks on sets are trained and judged, and what permutations of the tokens do to their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .sets_arms import SetNetwork
from .sets_problem import Problem, SetBatch, joined
from .sweeps import TRAINING, generator
from .training import Losses

# Permutations have a generator of their own.
SHUFFLES = 4


def set_losses(network: SetNetwork, problem: Problem, sets: int, seed: int) -> Callable[[int], Losses]:
    """Return what the sets of an update cost: the same sets for every network."""

    def losses(update: int) -> Losses:
        batch = problem.draw(TRAINING, sets, generator(TRAINING, seed, update))
        outputs, own = network(batch.x, batch.ptr)
        loss = problem.loss(outputs, batch)
        return Losses(loss + own, float(loss.detach()))

    return losses


def drawn_sets(problem: Problem, part: int, sets: int, seed: int) -> list[SetBatch]:
    """Return sets to judge networks by, the same for all of them, in float64."""
    return [batch.double() for batch in problem.draw_many(part, sets, generator(part, seed))]


@torch.no_grad()
def answers(network: SetNetwork, batches: Sequence[SetBatch]) -> Float[Tensor, "sets outputs"]:
    """Return what a network says of all sets."""
    return torch.cat([network(batch.x, batch.ptr)[0] for batch in batches])


def judged(network: SetNetwork, problem: Problem, batches: Sequence[SetBatch]) -> float:
    """Return the score of a network's answers."""
    return problem.score(answers(network, batches), joined(batches))


def permuted(
    network: SetNetwork, problem: Problem, batches: Sequence[SetBatch], seed: int
) -> tuple[float, float]:
    """Return for how many sets in a hundred the answer changes when their tokens are permuted, and by how much at most.

    Every set is permuted once, at random.
    """
    drawn = generator(SHUFFLES, seed)
    before = answers(network, batches)
    after = answers(network, [batch.shuffled(drawn) for batch in batches])
    share = 100 * float(problem.changed(before, after).double().mean())
    return share, float((before - after).abs().max())

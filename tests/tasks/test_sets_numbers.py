import math

import pytest
import torch
from structformer.tasks.sets_numbers import MaxRegression, Mixture
from structformer.tasks.sets_problem import SetBatch, joined
from structformer.tasks.sweeps import TEST, TRAINING, generator
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal


def test_the_largest_number_is_the_target():
    problem = MaxRegression()
    batch = problem.draw(TRAINING, 500, generator(0))
    sizes = batch.ptr.diff()
    assert set(sizes.tolist()) == set(range(1, 11))
    numbers = problem.CENTRE + problem.UNIT * batch.x[:, 0]
    assert (float(numbers.min()), float(numbers.max())) == (1.0, 99.0)
    largest = [float(some.max()) for some in numbers.split(sizes.tolist())]
    told = problem.CENTRE + problem.UNIT * batch.target[:, 0]
    assert told.tolist() == pytest.approx(largest)


def test_an_error_counts_in_the_numbers_own_unit():
    problem = MaxRegression()
    batch = problem.draw(TRAINING, 50, generator(0))
    assert problem.score(batch.target, batch) == 0
    off = batch.target + 2 / problem.UNIT
    assert problem.score(off, batch) == pytest.approx(-2, rel=1e-5)
    assert float(problem.loss(off, batch)) == pytest.approx(2 / problem.UNIT, rel=1e-4)


def test_likelihood_is_that_of_torch():
    problem = Mixture()
    batch = problem.draw(TRAINING, 3, generator(1)).double()
    outputs = torch.randn(3, problem.outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    said = problem.said(outputs)
    assert said[..., 0].exp().sum(1).tolist() == pytest.approx([1, 1, 1])
    each = []
    for (weight, mean, spread), points in zip(
        (one.split([1, 2, 2], dim=1) for one in said),
        batch.x.split(batch.ptr.diff().tolist()),
        strict=True,
    ):
        parts = Independent(Normal(mean, spread), 1)
        mixture = MixtureSameFamily(Categorical(logits=weight[:, 0]), parts)
        each.append(float(mixture.log_prob(problem.REACH * points).mean()))
    assert problem.score(outputs, batch) == pytest.approx(sum(each) / 3)
    assert float(problem.loss(outputs, batch)) == pytest.approx(-problem.score(outputs, batch))


def test_the_true_gaussians_are_as_likely_as_published():
    problem = Mixture()
    batches = problem.draw_many(TEST, 2_000, generator(2))
    sizes = {int(batch.ptr[1]) for batch in batches}
    assert min(sizes) >= 100
    assert max(sizes) <= 500
    assert len(sizes) > 20
    truth = joined(batches)
    # Lee et al. 2019, table 4: -1.4726 is what the true parameters reach.
    assert float(problem.likelihood(truth.target, truth)) == pytest.approx(-1.4726, abs=0.02)


def test_gaussians_are_the_same_whatever_their_order():
    problem = Mixture()
    batch = problem.draw(TRAINING, 3, generator(1))
    other = batch.target[:, torch.tensor([2, 0, 3, 1])]
    assert float(problem.likelihood(other, batch)) == pytest.approx(
        float(problem.likelihood(batch.target, batch)), rel=1e-5
    )


def test_no_spread_is_so_small_that_likelihood_is_no_number():
    problem = Mixture()
    batch = SetBatch(torch.zeros(4, 2), torch.tensor([0, 4]), torch.zeros(1, 4, 5))
    assert math.isfinite(problem.score(torch.full((1, problem.outputs), -200.0), batch))

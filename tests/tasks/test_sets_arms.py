from dataclasses import replace

import pytest
import torch
from structformer.tasks.sets_arms import ARMS, SOES, ImageEmbedding, build, num_parameters
from structformer.tasks.sets_digits import DistinctDigits, PixelSets, digit_pools
from structformer.tasks.sets_numbers import MaxRegression, Mixture
from structformer.tasks.sweeps import TRAINING, generator

from structformer.models.parts import PartsModel
from structformer.models.pooled import PooledModel

PROBLEMS = {
    "max": MaxRegression,
    "mixture": Mixture,
    "bags": lambda: DistinctDigits(digit_pools("digits", 0)),
    "pixels": lambda: PixelSets(digit_pools("digits", 0)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_all_arms_are_of_about_as_many_parameters_and_answer(name):
    problem = PROBLEMS[name]()
    example = problem.draw(TRAINING, 64, generator(0))
    batch = problem.draw(TRAINING, 5, generator(1))
    wanted = num_parameters(build(SOES, problem, example))
    for arm in ARMS:
        network = build(arm, problem, example)
        assert num_parameters(network) == pytest.approx(wanted, rel=0.08), arm
        outputs, own = network(batch.x, batch.ptr)
        assert outputs.shape == (5, problem.outputs)
        assert own.ndim == 0
        ours = PartsModel if name == "mixture" else PooledModel
        assert ARMS[arm].ours == isinstance(network.body, ours)
        assert (network.images is not None) == (name == "bags")


def test_images_are_embedded_alike_in_all_arms():
    problem = PROBLEMS["bags"]()
    example = problem.draw(TRAINING, 8, generator(0))
    sizes = {num_parameters(build(arm, problem, example).images) for arm in ARMS}
    assert sizes == {num_parameters(ImageEmbedding(8))}


@pytest.mark.parametrize("arm", ARMS)
def test_nothing_is_read_off_the_targets(arm):
    problem = MaxRegression()
    example = problem.draw(TRAINING, 64, generator(0))
    blind = replace(example, target=torch.full_like(example.target, torch.nan))
    batch = problem.draw(TRAINING, 5, generator(1))
    outputs = []
    for shown in (example, blind):
        torch.manual_seed(0)
        outputs.append(build(arm, problem, shown)(batch.x, batch.ptr)[0])
    assert outputs[0].equal(outputs[1])

import math

import pytest
import torch
from torch import nn

from structformer.training.optimizer import parameter_groups, running_average, schedule


@pytest.mark.parametrize(
    ("share", "warmup", "factor"),
    [
        (0.0, 0.2, 0.01),
        (0.05, 0.2, 0.25),
        (0.1, 0.2, 0.5),
        (0.2, 0.2, 1.0),
        (0.4, 0.2, 0.5 * (1 + math.cos(math.pi / 4))),
        (0.6, 0.2, 0.5),
        (1.0, 0.2, 0.01),
        (3.0, 0.2, 0.01),
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 0.5),
        (0.5, 1.0, 0.5),
        (1.0, 1.0, 1.0),
    ],
)
def test_schedule_rises_and_falls(share, warmup, factor):
    assert schedule(share, warmup) == pytest.approx(factor)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.embedding = nn.Embedding(7, 5)
        self.seed = nn.Parameter(torch.zeros(2, 5))
        self.frozen = nn.Linear(5, 5)
        self.frozen.requires_grad_(False)


def test_only_matrices_of_linear_maps_decay():
    model = Everything()
    decayed, others = parameter_groups(model, 0.3)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model.linear.weight)]
    expected = [model.seed, model.linear.bias, model.norm.weight, model.norm.bias, model.embedding.weight]
    assert {id(p) for p in others["params"]} == {id(p) for p in expected}


def test_empty_groups_are_left_out():
    groups = parameter_groups(nn.LayerNorm(3), 0.3)
    assert [group["weight_decay"] for group in groups] == [0.0]


def test_an_average_of_weights_is_their_mean_first_and_forgets_later():
    update = running_average(0.75)
    average, values = [torch.tensor(2.0)], [2.0, 5.0, 11.0, 7.0, 3.0, 13.0]
    for seen, value in enumerate(values[1:], start=1):
        before = float(average[0])
        update(average, [torch.tensor(value)], seen)
        expected = sum(values[: seen + 1]) / (seen + 1) if seen < 4 else 0.75 * before + 0.25 * value
        assert float(average[0]) == pytest.approx(expected)

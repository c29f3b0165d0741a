"""Nodes that every rival should tell apart."""

import pytest
import torch
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import labels_a_class


@pytest.fixture
def clouds(rng: torch.Generator) -> Problem:
    """Three clouds of points, linked inside each."""
    y = torch.arange(90) % 3
    x = torch.nn.functional.one_hot(y, 5) * 4 + torch.randn(90, 5, generator=rng)
    pairs = torch.randint(90, (2, 900), generator=rng)
    edges = pairs[:, y[pairs[0]] == y[pairs[1]]]
    return Problem.of(x, y, labels_a_class(y, 4, 4, seed=0), torch.cat([edges, edges.flip(0)], 1))

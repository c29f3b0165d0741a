from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from structformer.tasks.baselines.graph_sizes import STEP, num_parameters, read_out, sized


def network(inputs: int, width: int, hidden: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(inputs, width), read_out(width, hidden, 2, 0.0))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(300, 20_000))
def test_a_network_is_as_large_as_it_can_be_within_what_is_wanted(inputs: int, parameters: int):
    found = sized(partial(network, inputs), parameters)
    width = found[0].out_features
    assert width % STEP == 0
    # One hidden feature more would be too much.
    assert parameters - (width + 3) < num_parameters(found) <= parameters


def test_what_cannot_be_so_small_says_how_small_it_can_be():
    least = num_parameters(network(100, STEP, STEP))
    with pytest.raises(
        ValueError, match=rf"parameters must be at least {least} for this network \(got 100\)"
    ):
        sized(partial(network, 100), 100)
    assert num_parameters(sized(partial(network, 100), least)) == least

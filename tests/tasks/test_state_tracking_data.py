from itertools import permutations

import pytest
import torch
from structformer.tasks.state_tracking_data import (
    StateTrackingConfig,
    composition_table,
    draw_state_tracking,
    follow,
)

EXAMPLES, LENGTH = 13, 31


def test_two_elements_are_the_parity_of_bits(rng):
    data = draw_state_tracking(StateTrackingConfig(elements=2, length=LENGTH), EXAMPLES, rng)
    assert data.inputs.shape == data.targets.shape == (EXAMPLES, LENGTH)
    assert set(data.inputs.flatten().tolist()) == {0, 1}
    assert torch.equal(data.targets, data.inputs.cumsum(1) % 2)


@pytest.mark.parametrize("elements", [3, 5])
def test_the_target_is_what_moving_the_elements_one_by_one_gives(elements, rng):
    config = StateTrackingConfig(elements, LENGTH)
    data = draw_state_tracking(config, EXAMPLES, rng)
    every = list(permutations(range(elements)))
    assert len(every) == config.symbols
    for inputs, targets in zip(data.inputs.tolist(), data.targets.tolist(), strict=True):
        state = tuple(range(elements))
        for move, target in zip(inputs, targets, strict=True):
            state = tuple(every[move][element] for element in state)
            assert every[target] == state


def test_the_order_of_permutations_matters():
    table = composition_table(5)
    assert table.shape == (120, 120)
    assert (table != table.T).float().mean() > 0.9
    # The table of a group: a neutral element, and every row and column holds every element.
    assert torch.equal(table[0], torch.arange(120))
    assert torch.equal(table[:, 0], torch.arange(120))
    assert torch.equal(table.sort(dim=0).values, torch.arange(120)[:, None].expand(-1, 120))
    assert torch.equal(table.sort(dim=1).values, torch.arange(120).expand(120, -1))


def test_a_target_does_not_depend_on_what_comes_after(rng):
    inputs = torch.randint(120, (EXAMPLES, LENGTH), generator=rng)
    assert torch.equal(follow(inputs, 5)[:, :17], follow(inputs[:, :17], 5))


def test_inputs_and_states_are_uniform(rng):
    data = draw_state_tracking(StateTrackingConfig(3, 7), 20_011, rng)
    for symbols in (data.inputs[:, 0], data.inputs[:, -1], data.targets[:, -1]):
        share = torch.bincount(symbols, minlength=6) / 20_011
        assert (share - 1 / 6).abs().max() < 0.014  # five standard deviations


def test_the_seed_decides(rng):
    config = StateTrackingConfig(5, LENGTH)
    again = torch.Generator().manual_seed(rng.initial_seed())
    first, second, third = (draw_state_tracking(config, 3, generator) for generator in (rng, again, rng))
    assert torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, third.inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"elements": 1}, r"elements must be between 2 and 6 \(got 1\)"),
        ({"elements": 7}, r"elements must be between 2 and 6 \(got 7\)"),
        ({"length": 0}, r"length must be at least 1 \(got 0\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        StateTrackingConfig(**arguments)


def test_examples_must_be_some(rng):
    with pytest.raises(ValueError, match=r"examples must be at least 1 \(got -3\)"):
        draw_state_tracking(StateTrackingConfig(), -3, rng)

import pytest
import torch
from structformer.tasks import mqar_data
from structformer.tasks.mqar_data import IGNORED, MQARConfig, draw_mqar

# Length is even by rule: 2 · 37.
CONFIG = MQARConfig(length=74, pairs=7, vocabulary=101)
EXAMPLES = 211


def rows(data):
    return zip(data.inputs.tolist(), data.targets.tolist(), strict=True)


@pytest.mark.parametrize("random_fill", [True, False])
def test_every_key_is_asked_for_once_and_its_value_is_the_target(random_fill, rng):
    config = MQARConfig(CONFIG.length, CONFIG.pairs, CONFIG.vocabulary, random_fill=random_fill)
    data = draw_mqar(config, EXAMPLES, rng)
    assert data.inputs.shape == data.targets.shape == (EXAMPLES, CONFIG.length)
    assert data.inputs.dtype == data.targets.dtype == torch.int64
    for inputs, targets in rows(data):
        value_of = dict(zip(inputs[0:14:2], inputs[1:14:2], strict=True))
        asked = [place for place, target in enumerate(targets) if target != IGNORED]
        assert len(value_of) == len(asked) == 7
        assert len(set(value_of.values())) == 7
        assert {inputs[place] for place in asked} == set(value_of)
        for place in asked:
            assert targets[place] == value_of[inputs[place]]
            assert place >= 14
            assert place % 2 == 0
        if not random_fill:
            assert all(token == 0 for place, token in enumerate(inputs) if place >= 14 and place not in asked)


def test_keys_and_values_come_from_their_halves_of_the_vocabulary(rng):
    inputs = draw_mqar(CONFIG, 10 * EXAMPLES, rng).inputs
    assert set(inputs[:, 0:14:2].flatten().tolist()) == set(range(1, 50))
    assert set(inputs[:, 1:14:2].flatten().tolist()) == set(range(50, 101))
    assert set(inputs[:, 14:].flatten().tolist()) == set(range(101))


def test_keys_are_uniform_in_every_position(rng):
    # As many keys as can be: repetitions have to be drawn again most of the time.
    config = MQARConfig(length=24, pairs=5, vocabulary=12)
    keys = draw_mqar(config, 20_011, rng).inputs[:, 0:10:2]
    for position in range(5):
        share = torch.bincount(keys[:, position], minlength=6)[1:] / 20_011
        assert (share - 1 / 5).abs().max() < 0.015  # five standard deviations
    together = torch.bincount(keys[:, 0] * 6 + keys[:, 3], minlength=36).view(6, 6)[1:, 1:] / 20_011
    expected = (1 - torch.eye(5)) / 20
    assert (together - expected).abs().max() < 0.008


@pytest.mark.parametrize("power", [0.01, 1.0, 2.0])
def test_the_gaps_follow_the_power_law(power, rng):
    config = MQARConfig(length=46, pairs=3, vocabulary=101, power=power, random_fill=False)
    data = draw_mqar(config, 30_011, rng)
    asked = (data.targets != IGNORED)[:, 6::2]
    assert asked.shape[1] == config.places == 20
    weight = torch.arange(1, 21, dtype=torch.float64) ** (power - 1)
    first = weight / weight.sum()
    # The second key finds one place taken: P(g) = Σ_h p_h p_g / (1 − p_h).
    second = first * ((first / (1 - first)).sum() - first / (1 - first))
    for key, law in ((0, first), (1, second)):
        place = (data.inputs[:, 6::2] == data.inputs[:, 2 * key, None]) & asked
        found = place.double().mean(dim=0)
        assert found.sum() == pytest.approx(1)
        assert (found - law).abs().max() < 5 * (law.max() / 30_011).sqrt()


def test_the_seed_decides(rng):
    again = torch.Generator().manual_seed(rng.initial_seed())
    first, second, third = (draw_mqar(CONFIG, 5, generator) for generator in (rng, again, rng))
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.inputs, third.inputs)


def test_shapes_of_the_protocol():
    shapes = [(config.length, config.pairs) for config in mqar_data.TEST_CONFIGS]
    assert shapes[:5] == [(64, 4), (128, 8), (256, 16), (256, 32), (256, 64)]
    assert shapes[5:] == [(512, 128), (1024, 256)]
    assert tuple(mqar_data.TEST_CONFIGS[:5]) == mqar_data.TRAIN_CONFIGS
    assert all((config.vocabulary, config.power) == (8192, 0.01) for config in mqar_data.TEST_CONFIGS)


def test_as_many_pairs_as_fit(rng):
    data = draw_mqar(MQARConfig(length=20, pairs=5, vocabulary=12), 3, rng)
    assert (data.targets != IGNORED)[:, 10::2].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": 0}, r"pairs must be at least 1 \(got 0\)"),
        ({"length": 65}, r"length must be even and at least 4 \* pairs = 16 \(got 65\)"),
        ({"length": 14}, r"length must be even and at least 4 \* pairs = 16 \(got 14\)"),
        ({"vocabulary": 9}, r"vocabulary must be at least 2 \* pairs \+ 2 = 10, .* \(got 9\)"),
        ({"power": 0.0}, r"power must be positive \(got 0.0\)"),
        ({"power": float("nan")}, r"power must be positive \(got nan\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MQARConfig(**arguments)


def test_examples_must_be_some(rng):
    with pytest.raises(ValueError, match=r"examples must be at least 1 \(got 0\)"):
        draw_mqar(CONFIG, 0, rng)

import json

import pytest

from structformer.models.choice import build_encoder, config_from_state, config_state, encoder_config
from structformer.models.encoder import SOESEncoder, SOESEncoderConfig
from structformer.models.ressformer import ReSSFormer, ReSSFormerConfig

CONFIGS = [
    SOESEncoderConfig(width=14, heads=2, steps=3, normalizer="entmax15", edge_features=5),
    ReSSFormerConfig(width=14, heads=2, steps=3, experts=7, active=3, top=None, halting="act", threshold=0.2),
]


@pytest.mark.parametrize(("place", "kind"), [(0, SOESEncoder), (1, ReSSFormer)])
def test_the_config_decides_which_encoder_is_built(place, kind):
    encoder = build_encoder(CONFIGS[place])
    assert type(encoder) is kind
    assert encoder.config is CONFIGS[place]


@pytest.mark.parametrize("config", CONFIGS)
def test_configs_survive_json(config):
    again = config_from_state(json.loads(json.dumps(config_state(config))))
    assert type(again) is type(config)
    assert again == config


def test_a_state_without_a_name_is_of_a_soes_encoder():
    assert config_from_state({"width": 22, "steps": 5}) == SOESEncoderConfig(width=22, steps=5)


def test_options_are_added_to_what_is_decided():
    assert encoder_config("soes", width=22) == SOESEncoderConfig(width=22)
    found = encoder_config("ressformer", {"experts": 3, "depth": 2}, width=22, dropout=0.0)
    assert found == ReSSFormerConfig(width=22, dropout=0.0, experts=3, depth=2)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("nonsense", None, r"""model must be "soes" or "ressformer" \(got 'nonsense'\)"""),
        ("soes", {"experts": 3}, r"model_options of 'soes' may name steps, .* \(got 'experts'\)"),
        ("ressformer", {"width": 3}, r"model_options of 'ressformer' may name steps, .* \(got 'width'\)"),
        ("ressformer", {"depth": 0}, r"depth must be at least 1 \(got 0\)"),
        ("ressformer", {"ponder": -1.0}, r"ponder must be at least 0 \(got -1.0\)"),
    ],
)
def test_what_cannot_be_used_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        encoder_config(model, options, width=22)

from dataclasses import replace

import pytest
import torch
from structformer.tasks.baselines.text import TextConfig
from structformer.tasks.sequence_arms import ARMS, OURS, RSA, build

from structformer.models.language import ReSSFormerLMConfig

SIZES = TextConfig(vocabulary=17, width=16, layers=2, heads=2)
CONFIG = ReSSFormerLMConfig(neighbors=3, window=2, slots=3, experts=3, active=2, deep_slots=2)


def arm(name, seed=0, **changes):
    torch.manual_seed(seed)
    return build(name, SIZES, CONFIG, **changes).double().eval()


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_scores_each_token_without_seeing_later_ones_or_other_texts(name):
    model, ids = arm(name), torch.randint(17, (3, 11))
    logits = model.run(ids).logits
    assert logits.shape == (3, 11, 17)
    changed = ids.clone()
    changed[1, 7:] = (changed[1, 7:] + 1) % 17
    again = model.run(changed).logits
    torch.testing.assert_close(again[[0, 2]], logits[[0, 2]], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(again[1, :7], logits[1, :7], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(again[1, 7], logits[1, 7])


@pytest.mark.parametrize("name", ARMS)
def test_scores_that_are_asked_for_are_those_of_all(name):
    model, ids = arm(name), torch.randint(17, (3, 11))
    where = torch.rand(3, 11) < 0.4
    torch.testing.assert_close(model.run(ids, where).logits, model.run(ids).logits[where])


@pytest.mark.parametrize("name", ARMS)
def test_sizes_are_stated(name):
    model = arm(name)
    assert model.num_parameters == sum(p.numel() for p in model.parameters())
    assert model.flops(16) > 2 * 16 * 17  # the head alone
    grows = name in ("ressformer", "ressformer, both", "lsh") or "transformer" in name
    assert (model.state_size is None) == grows


def test_the_state_of_our_memory_is_what_decoding_keeps():
    model, ids = arm("ressformer, rsa"), torch.randint(17, (11,))
    state = model.model(ids, torch.tensor([0, 11])).state
    assert state.numbers - state.finals.numel() == model.state_size


def test_our_blocks_are_as_many_as_the_layers_of_others():
    four = replace(SIZES, layers=4)
    config = build(RSA, four, replace(CONFIG, depth=2)).model.config
    assert (config.depth, config.steps) == (2, 2)
    with pytest.raises(ValueError, match=r"depth must divide layers, 4 \(got 3\)"):
        build(RSA, four, replace(CONFIG, depth=3))


def test_our_extras_reach_the_loss():
    found = arm("ressformer").run(torch.randint(17, (3, 11)))
    assert found.loss is not None
    assert float(found.loss.detach()) > 0
    assert found.steps is not None
    assert found.steps.unique().tolist() == [2]


def test_unknown_arms_are_named():
    with pytest.raises(ValueError, match=r"arm must be one of ressformer, .* \(got 'lstm'\)"):
        build("lstm", SIZES, CONFIG)
    assert set(OURS) < set(ARMS)

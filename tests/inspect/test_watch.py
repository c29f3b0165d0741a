from __future__ import annotations

import numpy as np
import pytest
import torch

from structformer.inspect.watch import watched
from structformer.models import ReSSFormer, ReSSFormerConfig

PTR = torch.tensor([0, 5, 11])
SMALL = ReSSFormerConfig(width=16, heads=2, steps=3, slots=2, experts=3, depth=2, neighbors=4)
# Along which axis tokens, or sets, lie.
AXES = {"chosen": 2, "shares": 2, "kept": 1, "pooled": 1, "read": 1, "taken": 0, "ponder": 0}


def model(**changes: object) -> ReSSFormer:
    torch.manual_seed(0)
    return ReSSFormer(ReSSFormerConfig(**{**vars(SMALL), **changes})).double().eval()


def test_watching_changes_nothing_and_ends():
    network, h = model(halting="act"), torch.randn(11, 16, dtype=torch.float64)
    before = network(h, PTR).tokens
    with watched([network]) as (entry,):
        assert torch.equal(network(h, PTR).tokens, before)
    calls = len(entry.sizes)
    network(h, PTR)
    assert calls == len(entry.sizes) == 1


def test_calls_follow_each_other():
    network, h = model(halting="act"), torch.randn(11, 16, dtype=torch.float64)
    with watched([network]) as (entry,), torch.no_grad():
        found = network(h, PTR).thought
        network(h[:5])
        network(h[5:])
    assert entry.ptr.tolist() == [0, 5, 11, 16, 22]
    assert (entry.steps, entry.experts) == (3, 3)
    shapes = {name: entry.joined(name, axis).shape for name, axis in AXES.items()}
    assert shapes == {
        "chosen": (3, 2, 22, 2),
        "shares": (3, 2, 22, 2),
        "kept": (3, 4, 2),
        "pooled": (3, 22, 2),
        "read": (3, 22, 2),
        "taken": (22,),
        "ponder": (22,),
    }
    for name, axis in AXES.items():
        first, second = np.array_split(entry.joined(name, axis), 2, axis)
        np.testing.assert_allclose(first, second, rtol=1e-6)
    # Step by step, and in each layer by layer.
    chosen = entry.joined("chosen", 2)
    np.testing.assert_array_equal(chosen[1, 0, :11], found.chosen[2].numpy())
    np.testing.assert_allclose(entry.joined("pooled", 1)[1, :11], found.written[1].numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"experts": 1, "active": 1}, {"chosen", "shares"}),
        ({"slots": 0}, {"kept", "pooled", "read"}),
        ({"halting": None}, {"taken", "ponder"}),
    ],
)
def test_a_part_that_the_model_lacks_is_none(changes, missing):
    network = model(**{"halting": "act", **changes})
    with watched([network]) as (entry,), torch.no_grad():
        network(torch.randn(11, 16, dtype=torch.float64), PTR)
    assert {name for name, axis in AXES.items() if entry.joined(name, axis) is None} == missing

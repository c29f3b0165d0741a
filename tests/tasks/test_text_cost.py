import json
from dataclasses import replace

import pytest
import torch
from structformer.tasks import text_cost
from structformer.tasks.baselines.text import TextOutput
from structformer.tasks.sequence_arms import ARMS
from structformer.tasks.text_cost import QUICK, run, training_step, with_growth

TINY = replace(QUICK, lengths=(16, 32), tokens=32, arms=("ressformer, rsa", "transformer"))


def test_a_run_has_a_row_an_arm_and_length(tmp_path):
    rows = run(True, 1, TINY, tmp_path)
    assert [(row["arm"], row["length"]) for row in rows] == [
        (arm, length) for length in (16, 32) for arm in TINY.arms
    ]
    for row in rows:
        assert row["tokens per second"] == round(32e3 / row["milliseconds"])
        assert row["megabytes"] is None or row["megabytes"] >= 0
    assert [row["to shortest"] for row in rows[:2]] == [1, 1]
    assert len(json.loads((tmp_path / "text_cost-quick.json").read_text())["parts"]) == 2


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_takes_a_step_to_all_its_weights(arm):
    grads = training_step(TINY, arm, 16, 0)()
    # RWKV-7 begins with many zeros, behind which others have no gradient yet.
    assert sum(grad is not None for grad in grads) > 0.8 * len(grads)
    assert sum(grad is not None and bool(grad.any()) for grad in grads) > 0.2 * len(grads)


def test_a_step_reads_as_many_tokens_at_every_length(monkeypatch):
    shapes = []

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(256, 256))

        def run(self, ids):
            shapes.append(tuple(ids.shape))
            return TextOutput(self.weight[ids])

    monkeypatch.setattr(text_cost.language, "matched", lambda *_: Counting())
    for length in TINY.lengths:
        training_step(TINY, "transformer", length, 0)()
    assert shapes == [(2, 16), (1, 32)]


def test_growth_is_told_beside_the_shortest_of_the_same_arm():
    rows = [
        {"arm": "a", "milliseconds": 2.0},
        {"arm": "b", "milliseconds": 4.0},
        {"arm": "a", "milliseconds": 3.0},
        {"arm": "b", "milliseconds": None},
    ]
    assert [row["to shortest"] for row in with_growth(rows)] == [1, 1, 1.5, None]


def test_bad_settings_and_seeds_are_named(tmp_path):
    with pytest.raises(ValueError, match="arms must be among"):
        replace(TINY, arms=("perceiver",))
    with pytest.raises(ValueError, match=r"lengths must divide tokens, 32 \(got \(12,\)\)"):
        replace(TINY, lengths=(12,))
    with pytest.raises(ValueError, match=r"seeds must be at least 1 \(got 0\)"):
        run(True, 0, TINY, tmp_path)

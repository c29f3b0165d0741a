from dataclasses import replace

import pytest
from structformer.tasks.baselines.text import TextConfig
from structformer.tasks.mqar import QUICK, MQARSettings, batches, run, training_batch
from structformer.tasks.mqar_data import IGNORED
from structformer.tasks.sweeps import TEST, VALIDATION
from structformer.tasks.training import TrainingSettings

TINY = replace(
    QUICK,
    arms=("ressformer", "transformer"),
    sizes=TextConfig(32, width=16, layers=2, heads=2),
    heads={},
    shapes=((16, 2),),
    longer=((32, 4),),
    batch=64,
    examples=7,
    training=TrainingSettings(updates=3),
    workers=0,
)


def test_a_run_has_a_row_for_each_arm_and_shape(tmp_path):
    rows = run(True, 1, TINY, tmp_path)
    arms = ["ressformer", "transformer"]
    assert [(row["data"], row["arm"]) for row in rows] == [
        (f"pairs {shape}", arm) for shape in ("16/2", "32/4") for arm in arms
    ]
    assert all(0 <= row["mean"] <= 100 and row["state"] != 0 for row in rows)
    assert [file.name for file in tmp_path.iterdir()] == ["mqar-quick.jsonl"]


def test_examples_are_the_same_for_all_arms_and_others_for_each_purpose():
    first, again = training_batch(TINY, 0, 5), training_batch(TINY, 0, 5)
    assert first.inputs.equal(again.inputs)
    assert not first.inputs.equal(training_batch(TINY, 0, 6).inputs)
    assert not first.inputs.equal(training_batch(TINY, 1, 5).inputs)
    shape = (16, 2)
    some, others = (batches(TINY, shape, purpose, 0) for purpose in (VALIDATION, TEST))
    assert [len(batch.inputs) for batch in some] == [4, 3]
    assert not some[0].inputs.equal(others[0].inputs)
    assert int((some[0].targets != IGNORED).sum()) == 4 * 2


def test_shapes_are_trained_in_turn():
    settings = replace(TINY, shapes=((16, 2), (32, 4)))
    lengths = [training_batch(settings, 0, update).inputs.shape for update in range(3)]
    assert lengths == [(4, 16), (2, 32), (4, 16)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("lstm",)}, r"arms must be among .* \(got lstm\)"),
        ({"batch": 16}, "batch must hold the longest"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)


def test_the_published_run_is_of_equal_states():
    from structformer.tasks.sequence_arms import build

    settings, sizes = MQARSettings(), set()
    for arm in ("ressformer, rsa", "gated deltanet", "rwkv-7"):
        heads = settings.heads.get(arm, settings.sizes.heads)
        size = build(arm, replace(settings.sizes, heads=heads), settings.ours).state_size
        assert size is not None
        sizes.add(size)
    assert max(sizes) <= 1.2 * min(sizes)

from dataclasses import replace

import pytest
from structformer.tasks.state_tracking import QUICK, run, training_batch
from structformer.tasks.training import TrainingSettings

TINY = replace(
    QUICK,
    arms=("transformer",),
    groups=("parity", "S5"),
    width=16,
    length=7,
    batch=64,
    examples=9,
    training=TrainingSettings(updates=3),
    workers=0,
)


def test_a_run_has_accuracies_at_every_length(tmp_path):
    rows = run(True, 1, TINY, tmp_path)
    assert [row["data"] for row in rows] == [f"{group} x{n}" for group in ("parity", "S5") for n in (1, 2, 4)]
    assert all(0 <= row["mean"] <= 100 for row in rows)


def test_batches_are_of_one_length_each_and_never_longer_than_trained():
    shapes = {training_batch(TINY, 2, 0, update).inputs.shape for update in range(40)}
    assert {length for _, length in shapes} == {4, 5, 6, 7}
    assert all(rows == 64 // length for rows, length in shapes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("lstm",)}, "arms must be among"),
        ({"groups": ("A5",)}, r"groups must be among parity, S5 \(got A5\)"),
        ({"length": 3}, "length must be at least 4"),
        ({"batch": 16}, "batch hold the longest text"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)

import numpy as np
import pandas as pd
import pytest
from structformer.tasks.mixed_tables_data import MADE_UP, REAL, read_table, split_table

CLASSES = "made-up classes"


def test_a_fifth_is_for_the_test_and_nothing_is_in_both():
    split = split_table(CLASSES, 0, 1_000)
    assert (len(split.train), len(split.test)) == (320, 80)
    notes = set(split.train["note"]), set(split.test["note"])
    assert len(notes[0] | notes[1]) == 400
    assert not notes[0] & notes[1]
    # Half and half in the table, and so in both parts.
    assert (split.train_target.mean(), split.test_target.mean()) == (0.5, 0.5)


def test_targets_stay_with_their_rows():
    frame, target, _ = read_table("made-up numbers")
    by_note = dict(zip(frame["note"], target, strict=True))
    split = split_table("made-up numbers", 3, 100)
    for part, found in ((split.train, split.train_target), (split.test, split.test_target)):
        assert [by_note[note] for note in part["note"]] == found.tolist()


def test_fewer_training_rows_are_of_the_larger_part_and_the_test_part_is_whole():
    whole, part = split_table(CLASSES, 0, 1_000), split_table(CLASSES, 0, 50)
    assert len(part.train) == 50
    assert set(part.train["note"]) < set(whole.train["note"])
    pd.testing.assert_frame_equal(part.test, whole.test)
    assert part.train_target.mean() == 0.5


def test_the_seed_decides_the_split():
    first, again, other = (set(split_table(CLASSES, seed, 1_000).test["note"]) for seed in (0, 0, 1))
    assert first == again
    assert len(first & other) < 40


def test_made_up_tables_have_every_kind_of_column():
    for name in MADE_UP:
        frame, target, task = read_table(name)
        assert frame["number"].isna().any()
        assert frame["colour"].isna().any()
        assert frame["member"].dtype == bool
        assert pd.api.types.is_datetime64_any_dtype(frame["since"])
        assert frame["note"].nunique() == len(frame) == len(target)
        assert (len(np.unique(target)) == 2) == (task == "classification")


def test_unknown_tables_are_refused():
    with pytest.raises(ValueError, match=r"data must be among adult, .* \(got iris\)"):
        read_table("iris")


@pytest.mark.parametrize("name", REAL)
def test_real_tables(name, data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    frame, target, task = read_table(name)
    assert len(frame) == len(target) > 1_000
    regression = {"ames", "california_housing", "diamonds"}
    assert task == ("regression" if name in regression else "classification")
    if task == "classification":
        assert set(target) == {0, 1}
    split = split_table(name, 0, 10_000)
    assert len(split.train) == min(10_000, len(frame) - len(split.test))
    assert len(split.test) == -(-len(frame) // 5)

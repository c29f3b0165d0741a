from dataclasses import replace

import pytest
import torch
from structformer.tasks import ablation
from structformer.tasks.ablation import FULL, OFF, QUICK, WORD_LINKS, AblationSettings, digit_sets, run
from structformer.tasks.ledger import Trial
from structformer.tasks.training import TrainingSettings

TINY = replace(QUICK, training=TrainingSettings(updates=2), workers=0)


def test_each_part_is_switched_off_alone():
    full = QUICK.config(FULL)
    for part, changes in OFF.items():
        changed = {name for name in vars(full) if getattr(full, name) != getattr(QUICK.config(part), name)}
        assert changed <= set(changes)
        assert changed or part in ("smoothness", WORD_LINKS)


def test_digits_are_sets_of_pixels_that_leave_some_for_the_test():
    train_sets, train_labels, test_sets, test_labels = digit_sets()
    assert train_sets.num_sets + test_sets.num_sets == len(train_labels) + len(test_labels) == 1_797
    assert train_sets.x.abs().max() <= 1
    assert 10 < train_sets.num_tokens / train_sets.num_sets < 50


def test_training_teaches_the_digits(tmp_path):
    torch.manual_seed(0)
    settings = replace(QUICK, training=TrainingSettings(updates=100, learning_rate=5e-3))
    found, curve = ablation.digits(settings, "halting", 0, tmp_path / "state.pt")
    assert found > 0.2  # a guess finds 0.1
    assert len(curve.loss) == 2


def test_smoothness_has_a_part_in_the_loss():
    assert QUICK.change_cost(FULL) == QUICK.smoothness > 0
    assert QUICK.change_cost("smoothness") == 0


def test_links_by_shared_words_are_a_part_of_the_text_task_alone():
    arm = f"without {WORD_LINKS}"
    assert ablation.has(Trial("stories", arm, 0))
    assert not ablation.has(Trial("digits", arm, 0))


def test_a_run_has_a_row_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "OFF", {"memory": OFF["memory"]})
    full, memory = run(True, 2, TINY, tmp_path)
    assert (full["data"], full["arm"], memory["arm"]) == ("digits", FULL, "without memory")
    assert memory["lead"] == pytest.approx(full["mean"] - memory["mean"])
    assert memory["low"] <= memory["lead"] <= memory["high"]


def test_stories_are_answered(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    torch.manual_seed(0)
    settings = replace(TINY, tasks=(6,), training=TrainingSettings(updates=20, learning_rate=5e-3))
    for without in (FULL, WORD_LINKS):
        found, _ = ablation.PROBLEMS["stories"](settings, without, 0, tmp_path / "state.pt")
        assert 0.3 < found < 0.9  # yes or no


def test_settings_are_checked():
    with pytest.raises(ValueError, match="problems must be among"):
        AblationSettings(problems=("chess",))
    with pytest.raises(ValueError, match="smoothness must be at least 0"):
        AblationSettings(smoothness=-1.0)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)

from dataclasses import replace

import pytest
import torch
from structformer.datasets import Story
from structformer.tasks import babi
from structformer.tasks.babi import QUICK, BabiSettings, run
from structformer.tasks.story_training import ARMS, Lexicon, build, shortened, story_losses, wrong
from structformer.tasks.training import TrainingSettings, train

TINY = replace(
    QUICK, training=TrainingSettings(updates=3), joint_training=TrainingSettings(updates=3), workers=0
)


def story(who, place, task=1, filler=0):
    walk = (who, "went", "to", "the", place)
    others = tuple((f"p{i}", "slept") for i in range(filler))
    return Story(task, 1, (*others, walk), ("where", "is", who), place, (filler,))


STORIES = [story(f"p{i}", f"place{(i * 7) % 5}") for i in range(20)]


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_learns_a_few_stories(arm):
    torch.manual_seed(0)
    lexicon = Lexicon.of(STORIES)
    model = build(arm, QUICK.model, lexicon)
    assert sum(wrong(model, lexicon, STORIES)) > 5
    losses = story_losses(model, lexicon, STORIES, 8, 0)
    train(model, losses, TrainingSettings(updates=60, learning_rate=5e-3))
    assert sum(wrong(model, lexicon, STORIES)) <= 1


def test_each_story_is_met_once_in_each_round(monkeypatch):
    met = []
    monkeypatch.setattr(
        "structformer.tasks.story_training.answered", lambda m, v, some: met.append(some) or 1 / 0
    )
    losses = story_losses(None, None, STORIES, 8, 0)
    for update in range(6):
        with pytest.raises(ZeroDivisionError):
            losses(update)
    rounds = met[:3], met[3:]
    for some in rounds:
        assert sorted(one.question[2] for part in some for one in part) == sorted(
            one.question[2] for one in STORIES
        )
    assert rounds[0] != rounds[1]


def test_answers_that_training_never_gave_are_wrong():
    lexicon = Lexicon.of(STORIES[:5])
    model = build("ressformer", QUICK.model, lexicon)
    assert wrong(model, lexicon, [story("p1", "nowhere")]) == [True]


def test_long_stories_keep_their_end():
    long = story("p1", "place1", filler=6)
    cut = shortened(long, 3)
    assert cut.sentences == long.sentences[-3:]
    assert (cut.supporting, long.supporting) == ((2,), (6,))
    assert shortened(replace(long, supporting=(0, 6)), 3).supporting == (2,)


def test_a_run_on_the_real_stories(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    rows = run(True, 1, replace(TINY, tasks=(1, 6)), tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [
        (data, "ressformer")
        for data in ("2 tasks apart", "2 tasks apart, each one's best seed", "task 1", "task 6")
    ]
    assert rows[0]["mean"] == pytest.approx((rows[2]["mean"] + rows[3]["mean"]) / 2)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"arms must be among .* \(got lstm\)"):
        BabiSettings(arms=("lstm",))
    with pytest.raises(ValueError, match="tasks must be among"):
        BabiSettings(tasks=(21,))
    with pytest.raises(ValueError, match="at least 1"):
        BabiSettings(sentences=0)
    assert babi.JOINT not in {f"task {task}" for task in BabiSettings().tasks}

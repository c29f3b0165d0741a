from dataclasses import replace

import pytest
from structformer.tasks.distractors import QUICK, DistractorSettings, hidden, run
from structformer.tasks.distractors_plot import draw
from structformer.tasks.story_training import ARMS, build_of_size, num_parameters
from structformer.tasks.training import TrainingSettings

TINY = replace(QUICK, test_stories=9, training=TrainingSettings(updates=2), workers=0)


def test_a_run_on_real_stories_and_distractors(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    rows = run(True, 1, TINY, tmp_path)
    assert [row["data"] for row in rows] == ["stories x1", "stories x4", "stories 50%"]
    assert (tmp_path / "distractors-quick.png").stat().st_size > 5_000


def test_stories_are_hidden_at_the_wanted_lengths_and_shares(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    data = hidden(TINY)
    assert max(story.tokens for story in data.train) <= 128
    for name, length in {"x1": 128, "x4": 512}.items():
        assert all(0.9 * length < story.tokens <= length for story in data.test[name])
    questions = {name: [story.question for story in some] for name, some in data.test.items()}
    assert questions["x1"] == questions["x4"] == questions["50%"]
    seen = {sentence for story in data.train for sentence in story.sentences}
    far = [s for story in data.test["x4"] for i, s in enumerate(story.sentences) if i not in story.supporting]
    assert sum(len(sentence) > 9 and sentence in seen for sentence in far) < 0.01 * len(far)
    assert not data.lexicon.words.unknown(
        word for story in data.test["x4"] for s in story.sentences for word in s
    )
    for arm in ARMS:
        sizes = num_parameters(build_of_size(arm, TINY.model, data.lexicon))
        assert sizes == pytest.approx(
            num_parameters(build_of_size("ressformer", TINY.model, data.lexicon)), rel=0.1
        )


def test_the_picture_shows_lengths_and_shares(tmp_path):
    means = {"stories x1": 100.0, "stories x4": 90.0, "stories 50%": 70.0}
    rows = [{"data": data, "arm": "ressformer", "mean": mean} for data, mean in means.items()]
    draw(rows, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_settings_are_checked():
    with pytest.raises(ValueError, match="arms must be among"):
        DistractorSettings(arms=("lstm",))
    with pytest.raises(ValueError, match="tasks must be among"):
        DistractorSettings(tasks=(0,))

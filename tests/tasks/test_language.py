from dataclasses import replace

import pytest
import torch
from structformer.datasets.texts import split_by_position
from structformer.tasks import language
from structformer.tasks.language import ARMS, QUICK, LanguageSettings, matched, run, training_batch
from structformer.tasks.language_data import encode_stream
from structformer.tasks.training import TrainingSettings

from structformer.tokenize.text import TextTokenizer

TINY = replace(
    QUICK,
    arms=("transformer",),
    parameters=20_000,
    length=11,
    batch=3,
    training=TrainingSettings(updates=3),
    workers=0,
)


@pytest.fixture
def small(monkeypatch):
    """A corpus of a few lines."""
    splits = split_by_position(b"To be, or not to be, that is the question.\n" * 40)
    parts = [encode_stream(part, TextTokenizer()) for part in (splits.train, splits.valid, splits.test)]
    monkeypatch.setattr(language, "streams", lambda corpus, vocabulary: (256, *parts))
    return parts


def test_training_moves_bits_per_byte_of_unseen_text(small, tmp_path):
    settings = replace(TINY, training=TrainingSettings(updates=60, learning_rate=1e-2))
    row = language.measure(settings, "shakespeare", "transformer", 1e-2, 0, tmp_path / "state.pt")
    assert 0 < row["scores"][""] < 5  # 8 without any learning
    assert row["validation"] == pytest.approx(-row["scores"][""], rel=0.5)


def test_the_loss_of_a_text_counts_each_token_once(small):
    model = matched(TINY, "transformer", 256).double()
    ids = small[2].ids
    logits = model.run(ids[None, :-1]).logits[0]
    whole = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")
    longest = replace(TINY, batch=1, length=len(ids))
    assert language.negative_log_likelihood(model, small[2], longest) == pytest.approx(float(whole.detach()))
    apart = [model.run(ids[None, first : first + 30]).logits[0] for first in range(0, len(ids) - 1, 30)]
    wanted = torch.nn.functional.cross_entropy(torch.cat(apart)[: len(ids) - 1], ids[1:], reduction="sum")
    cut = replace(TINY, batch=1, length=30)
    assert language.negative_log_likelihood(model, small[2], cut) == pytest.approx(float(wanted.detach()))


def test_windows_are_of_the_training_text_and_the_same_for_all_arms(small):
    batch = training_batch(TINY, small[0], 0, 3)
    assert batch.inputs.shape == (3, 11)
    assert batch.inputs[:, 1:].equal(batch.targets[:, :-1])
    assert batch.inputs.equal(training_batch(TINY, small[0], 0, 3).inputs)
    assert not batch.inputs.equal(training_batch(TINY, small[0], 0, 4).inputs)


@pytest.mark.parametrize("arm", ARMS)
def test_arms_are_of_equal_size(arm):
    settings = LanguageSettings()
    assert matched(settings, arm, 256).num_parameters == pytest.approx(settings.parameters, rel=0.01)


def test_real_corpora_are_read(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    vocabulary, train, valid, test = language.streams("shakespeare", 0)
    assert vocabulary == 256
    assert train.num_bytes + valid.num_bytes + test.num_bytes == 1_115_394
    rows = run(True, 1, replace(TINY, length=128, batch=64, training=TrainingSettings(updates=1)), tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [("shakespeare", "transformer")]
    assert 4 < rows[0]["mean"] < 16


def test_settings_are_checked():
    with pytest.raises(ValueError, match="corpora must be among shakespeare, wikitext2"):
        replace(TINY, corpora=("pride",))
    with pytest.raises(ValueError, match="arms must be among"):
        replace(TINY, arms=("lstm",))

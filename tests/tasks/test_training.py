from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from structformer.tasks import training
from structformer.tasks.baselines.text import TextConfig
from structformer.tasks.mqar_data import IGNORED
from structformer.tasks.sequence_arms import build
from structformer.tasks.sequence_training import Batch, answer_losses
from structformer.tasks.training import TrainingSettings, train

from structformer.models.language import ReSSFormerLMConfig

SETTINGS = TrainingSettings(updates=17, learning_rate=3e-3, noted=3)


def arm(name="ressformer", dropout=0.1):
    torch.manual_seed(0)
    sizes = TextConfig(vocabulary=7, width=12, layers=2, heads=2, dropout=dropout)
    return build(name, sizes, ReSSFormerLMConfig(neighbors=3, window=2, slots=0, experts=2, halting="act"))


def copied(update):
    """Asks for the token after the one that is read, at every second place."""
    ids = torch.randint(7, (5, 6), generator=torch.Generator().manual_seed(update))
    targets = (ids + 1) % 7
    targets[:, ::2] = IGNORED
    return Batch(ids, targets)


class CutShort(Exception):
    pass


def test_a_training_cut_short_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED_EVERY", 0)
    whole, path = arm(), tmp_path / "new" / "state.pt"
    expected = train(whole, answer_losses(whole, copied), SETTINGS)

    def fails(update):
        if update == 11:
            raise CutShort
        return copied(update)

    cut = arm()
    with pytest.raises(CutShort):
        train(cut, answer_losses(cut, fails), SETTINGS, path)
    assert path.is_file()
    again, seen = arm(), []
    curve = train(
        again, answer_losses(again, lambda update: seen.append(update) or copied(update)), SETTINGS, path
    )
    assert seen == list(range(9, 17))
    assert (curve.loss, curve.norm) == (expected.loss, expected.norm)
    assert len(curve.loss) == 6
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))
    assert not path.exists()


def clock(step, updates):
    """Time as it passes when each update takes so long."""
    return lambda: step * len(updates)


def test_what_a_training_took_is_that_of_all_its_sittings(tmp_path, monkeypatch):
    updates, path = [], tmp_path / "state.pt"
    passing = SimpleNamespace(perf_counter=clock(10.0, updates), process_time=clock(20.0, updates))
    monkeypatch.setattr(training, "time", passing)
    monkeypatch.setattr(training, "SAVED_EVERY", 0)

    def fails(update):
        if len(updates) == 11:
            raise CutShort
        updates.append(update)
        return copied(update)

    cut, again = arm(), arm()
    with pytest.raises(CutShort):
        train(cut, answer_losses(cut, fails), SETTINGS, path)
    curve = train(
        again, answer_losses(again, lambda update: updates.append(update) or copied(update)), SETTINGS, path
    )
    # Two updates after the last state were lost, and count no more than the numbers that they led to.
    assert updates == [*range(11), *range(9, 17)]
    assert curve.costs() == {"seconds": 170.0, "cpu seconds": 340.0}
    assert curve.record() == {
        "loss": curve.loss[-1],
        "diverged": None,
        "curve": curve.loss,
        "norms": curve.norm,
        **curve.costs(),
    }


def test_a_state_of_another_training_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED_EVERY", 0)
    path = tmp_path / "state.pt"

    def fails(update):
        if update == 5:
            raise CutShort
        return copied(update)

    cut = arm()
    with pytest.raises(CutShort):
        train(cut, answer_losses(cut, fails), SETTINGS, path)
    other = arm()
    with pytest.raises(ValueError, match=r"state\.pt is of a training with other settings"):
        train(other, answer_losses(other, copied), replace(SETTINGS, learning_rate=1e-3), path)


def test_a_loss_that_is_no_number_ends_the_training():
    model = arm("transformer")

    def poisoned(update):
        if update == 4:
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))
        return copied(update)

    assert train(model, answer_losses(model, poisoned), SETTINGS).diverged == 4


@pytest.mark.parametrize("changes", [{"updates": 0}, {"noted": 0}, {"learning_rate": 0.0}])
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        replace(SETTINGS, **changes)

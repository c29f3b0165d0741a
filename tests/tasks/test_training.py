from dataclasses import replace

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

from dataclasses import replace

import pytest
import torch
from structformer.tasks.baselines.text import TextConfig
from structformer.tasks.mqar_data import IGNORED
from structformer.tasks.sequence_arms import build
from structformer.tasks.sequence_training import Batch, accuracy, answer_losses
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


def test_training_learns_and_accuracy_counts_questions_alone():
    model = arm(dropout=0.0)
    batches = [copied(update) for update in range(100, 104)]
    before = accuracy(model, batches)
    curve = train(
        model, answer_losses(model, copied), replace(SETTINGS, updates=150, learning_rate=1e-2, noted=50)
    )
    assert curve.loss[-1] < 0.3 * curve.loss[0]
    assert curve.diverged is None
    assert accuracy(model, batches) > 0.95 > before
    wrong = [
        Batch(b.inputs, torch.where(b.targets == IGNORED, IGNORED, (b.targets + 1) % 7)) for b in batches
    ]
    assert accuracy(model, wrong) < 0.05


def test_nothing_asked_is_refused():
    with pytest.raises(ValueError, match="must ask for something"):
        accuracy(arm(), [Batch(torch.zeros(1, 2, dtype=torch.long), torch.full((1, 2), IGNORED))])

import pytest
import torch
from structformer.tasks.best_state import BestState
from structformer.tasks.training import Losses, TrainingSettings, train
from torch import nn


def losses_of(model):
    def losses(update):
        loss = (model.weight - update).square().mean()
        return Losses(loss, float(loss.detach()))

    return losses


def test_the_weights_that_scored_best_come_back():
    model, seen, scores = nn.Linear(1, 1, bias=False), [], iter([0.2, 0.9, 0.5])

    def validate():
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(float(model.weight.detach()))
        return next(scores)

    best = BestState(model, validate, every=10)
    train(model, best.watching(losses_of(model)), TrainingSettings(updates=30, learning_rate=0.1))
    assert model.training
    assert best.restore(30) == 0.9
    assert (best.update, float(model.weight.detach())) == (20, seen[1])
    assert len(set(seen)) == 3
    assert not model.training


def test_looking_does_not_change_the_training():
    weights = []
    for every in (3, 1_000):
        torch.manual_seed(0)
        model = nn.Linear(1, 1, bias=False)
        best = BestState(model, lambda: 0.0, every)
        train(model, best.watching(losses_of(model)), TrainingSettings(updates=20, learning_rate=0.1))
        weights.append(float(model.weight.detach()))
    assert weights[0] == weights[1]


def test_of_equal_scores_the_first_stays():
    model = nn.Linear(1, 1)
    best = BestState(model, lambda: 1.0, 1)
    best.look(5)
    best.look(6)
    assert best.update == 5


def test_every_is_checked():
    with pytest.raises(ValueError, match=r"every must be at least 1 \(got 0\)"):
        BestState(nn.Linear(1, 1), lambda: 0.0, 0)

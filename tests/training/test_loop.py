import json
import math
import pickle
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState, is_initialized
from torch import nn

from structformer.training import Epoch, History, TrainingConfig, index_loader, train
from structformer.training.optimizer import schedule

ROWS, BATCH = 23, 5
BATCHES = 5


class Net(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Dropout(dropout), nn.Linear(7, 1))

    def forward(self, x):
        return self.layers(x).squeeze(1)


def problem(rng):
    x = torch.randn(ROWS, 3, generator=rng)
    return x, (x[:, 0] * x[:, 1]).tanh()


def loader_of(*tensors, batch=BATCH, seed=0):
    return index_loader(len(tensors[0]), batch, seed, lambda index: tuple(t[index] for t in tensors))


def squared_error(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


def config(**changes):
    return TrainingConfig(
        **{"epochs": 3, "patience": None, "learning_rate": 1e-2, "device": "cpu", **changes}
    )


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def scripted(scores):
    """A validation that gives these scores, one after another."""
    scores = iter(scores)
    return lambda model: next(scores)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_loss_falls_and_the_history_tells(rng, precision):
    data, model = problem(rng), Net()
    history = train(model, loader_of(*data), squared_error, config(epochs=40, precision=precision))
    assert [epoch.number for epoch in history.epochs] == [*range(1, 41)]
    assert history.epochs[-1].loss < 0.3 * history.epochs[0].loss
    assert (history.best, history.stopped) == (40, "epochs")
    assert all(epoch.score is None and epoch.gradient_norm > 0 for epoch in history.epochs)
    seconds = [epoch.seconds for epoch in history.epochs]
    assert seconds == sorted(seconds)
    assert not model.training


def test_loss_and_gradient_norm_are_means_over_the_epoch(rng):
    x, y = problem(rng)
    model, twin = Net(), Net()
    history = train(model, loader_of(x, y, batch=ROWS), squared_error, config(epochs=1, clip=1e-3))
    loss = squared_error(twin, (x, y))
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
    assert history.epochs[0].loss == pytest.approx(loss.item())
    assert history.epochs[0].gradient_norm == pytest.approx(norm.item())


def test_the_learning_rate_follows_the_schedule(rng):
    rates = config(warmup=0.4, epochs=3)
    history = train(Net(), loader_of(*problem(rng)), squared_error, rates)
    expected = [1e-2 * schedule((5 * n - 1) / 15, 0.4) for n in (1, 2, 3)]
    assert [epoch.learning_rate for epoch in history.epochs] == pytest.approx(expected)


def test_matrices_decay_and_biases_do_not(rng):
    model = Net()
    before = weights(model)
    flat = config(epochs=2, weight_decay=0.5, learning_rate=0.1, warmup=0.0)
    train(model, loader_of(*problem(rng), batch=ROWS), lambda net, batch: 0 * squared_error(net, batch), flat)
    shrunk = (1 - 0.05) * (1 - 0.05 * schedule(0.5, 0.0))
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (shrunk if old.ndim == 2 else 1.0))


def test_early_stopping_keeps_the_best_weights(rng):
    model, seen = Net(), []
    history = train(
        model,
        loader_of(*problem(rng)),
        squared_error,
        config(epochs=50, patience=3),
        validate=scripted([1.0, 3.0, 2.0, 3.0, 2.5, 9.0]),
        callbacks=[lambda epoch, net: seen.append(weights(net))],
    )
    assert (history.best, history.stopped) == (2, "patience")
    assert [epoch.score for epoch in history.epochs] == [1.0, 3.0, 2.0, 3.0, 2.5]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), seen[1], strict=True))
    assert not torch.equal(seen[1][0], seen[4][0])


def test_without_validation_the_last_weights_are_kept(rng):
    model, seen = Net(), []
    keep = [lambda epoch, net: seen.append(weights(net))]
    history = train(model, loader_of(*problem(rng)), squared_error, config(patience=1), callbacks=keep)
    assert (history.best, history.stopped) == (3, "epochs")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), seen[-1], strict=True))


def test_a_score_that_is_no_number_is_worse_than_any(rng):
    scores = scripted([math.nan, -5.0, math.nan])
    history = train(Net(), loader_of(*problem(rng)), squared_error, config(), validate=scores)
    assert history.best == 2


def test_validation_sees_a_model_in_evaluation_mode_without_gradients(rng):
    x, _ = problem(rng)

    def validate(model):
        assert not model.training
        assert not model(x).requires_grad
        assert torch.equal(model(x), model(x))
        return 0.0

    def loss(model, batch):
        assert model.training
        return squared_error(model, batch)

    train(Net(dropout=0.5), loader_of(*problem(rng)), loss, config(), validate=validate)


def test_callbacks_see_every_epoch_and_any_may_stop(rng):
    numbers, modes = [], []
    callbacks = [
        lambda epoch, model: epoch.number == 2,
        lambda epoch, model: numbers.append(epoch.number),
        lambda epoch, model: modes.append(model.training),
    ]
    history = train(Net(), loader_of(*problem(rng)), squared_error, config(), callbacks=callbacks)
    assert (numbers, modes) == ([1, 2], [False, False])
    assert (history.stopped, history.best) == ("callback", 2)


def test_time_is_up_at_the_end_of_a_step(rng, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("structformer.training.loop.time", SimpleNamespace(monotonic=lambda: now[0]))
    steps = []

    def loss(model, batch):
        now[0] += 1.0
        steps.append(now[0])
        return squared_error(model, batch)

    limited = config(epochs=100, max_time=7.0, warmup=0.0)
    history = train(Net(), loader_of(*problem(rng)), loss, limited)
    assert len(steps) == 8
    assert history.stopped == "max_time"
    assert [epoch.number for epoch in history.epochs] == [1, 2]
    # The schedule follows the clock where that is ahead of the steps: at 7 of 7 seconds it is at its end.
    assert history.epochs[-1].learning_rate == pytest.approx(1e-2 * schedule(1.0, 0.0))
    assert history.epochs[0].learning_rate == pytest.approx(1e-2 * schedule(4 / 7, 0.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_epoch(rng, bad):
    calls = []

    def loss(model, batch):
        calls.append(1)
        return squared_error(model, batch) + (bad if len(calls) == BATCHES + 2 else 0.0)

    with pytest.raises(
        FloatingPointError, match=rf"loss is {bad} in epoch 2: lower learning_rate \(got 0.01\)"
    ):
        train(Net(), loader_of(*problem(rng)), loss, config())
    assert len(calls) == BATCHES + 2, "training ends at once"


def test_a_gradient_that_is_not_finite_names_the_epoch(rng):
    def loss(model, batch):
        return (model(batch[0]) * 0).abs().sqrt().sum()

    with pytest.raises(FloatingPointError, match=r"the gradient is nan in epoch 1"):
        train(Net(), loader_of(*problem(rng)), loss, config())


def test_the_average_of_the_weights_is_validated_and_kept(rng):
    data = problem(rng)
    runs = {}
    for average in (0.0, 0.75):
        model, seen = Net(), []
        train(
            model,
            loader_of(*data, batch=ROWS),
            squared_error,
            config(epochs=2, average=average),
            callbacks=[lambda epoch, net, seen=seen: seen.append(weights(net))],
        )
        runs[average] = seen, weights(model)
    (first, second), _ = runs[0.0]
    (average_1, average_2), kept = runs[0.75]
    torch.testing.assert_close(average_1, first)
    torch.testing.assert_close(average_2, [0.5 * a + 0.5 * b for a, b in zip(first, second, strict=True)])
    assert all(torch.equal(a, b) for a, b in zip(kept, average_2, strict=True))


def test_a_seed_decides_everything(rng):
    data, found = problem(rng), []
    for seed in (1, 1, 2):
        torch.manual_seed(9)
        model = Net(dropout=0.5)
        train(model, loader_of(*data, seed=seed), squared_error, config())
        found.append(weights(model))
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not torch.equal(found[0][0], found[2][0])


def test_silent_where_nobody_watches(rng, capsys):
    train(Net(), loader_of(*problem(rng)), squared_error, config())
    assert capsys.readouterr() == ("", "")


def test_a_loader_without_batches_is_refused():
    empty = torch.utils.data.DataLoader([])
    with pytest.raises(ValueError, match="loader must yield at least one batch"):
        train(Net(), empty, squared_error, config())


@pytest.mark.parametrize("fails", [False, True])
def test_the_process_is_left_as_it_was(rng, fails):
    """Accelerate keeps device and precision for the whole process; the next model may want others."""

    def loss(model, batch):
        return squared_error(model, batch) + (math.nan if fails else 0.0)

    for precision in ("no", "bf16", "no"):
        model = Net()
        with pytest.raises(FloatingPointError) if fails else nullcontext():
            train(model, loader_of(*problem(rng)), loss, config(precision=precision))
        x = torch.randn(2, 3)
        assert torch.equal(model(x), model.layers(x).squeeze(1)), "nothing is left wrapped around the model"
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))
        assert not is_initialized()
        assert not PartialState._shared_state


def test_an_accelerator_of_the_user_stays(rng):
    from accelerate import Accelerator

    mine = Accelerator(cpu=True)
    try:
        train(Net(), loader_of(*problem(rng)), squared_error, config())
        assert mine.num_processes == 1
        assert mine.mixed_precision == "no"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_history_can_be_written_down():
    epochs = [Epoch(1, 0.1 + 0.2, None, 1.5, float("inf"), 1e-3), Epoch(2, 0.25, -0.5, 2.5, 1.0, 0.0)]
    history = History(epochs, best=2, stopped="patience", device="cuda")
    written = json.dumps(history.to_dict(), allow_nan=False)
    assert History.from_dict(json.loads(written)) == history
    assert History.from_dict(json.loads(json.dumps(History().to_dict()))) == History()

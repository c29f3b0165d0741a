from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig
from structformer.training.language import LanguageTrainer
from structformer.training.language_config import LanguageTrainingConfig
from structformer.training.optimizer import schedule

VOCABULARY, SEGMENT = 29, 7
CONFIG = ReSSFormerLMConfig(
    width=12,
    heads=2,
    steps=2,
    neighbors=3,
    affinity=5,
    window=2,
    slots=3,
    dropout=0.0,
    experts=3,
    mixer="both",
    vocabulary=VOCABULARY,
    segment=SEGMENT,
)
TRAINING = LanguageTrainingConfig(updates=11, batch=3, learning_rate=1e-2, warmup=0.3)
SIZES = (19, 5, 37, 2, 23)


def documents(sizes=SIZES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCABULARY, (size,), generator=generator) for size in sizes]


def make(texts=None, changes=None, dtype=torch.float64, **training):
    torch.manual_seed(0)
    model = ReSSFormerLM(replace(CONFIG, **(changes or {}))).to(dtype)
    return LanguageTrainer(model, texts or documents(), replace(TRAINING, **training))


@pytest.mark.parametrize("changes", [{"mixer": "attention"}, {"mixer": "rsa"}, {"slots": 0}, {}])
def test_lanes_are_read_as_each_document_would_be_alone(changes):
    """With a learning rate near 0 the model stays; its losses are those of texts read with memory carried over."""
    trainer = make(changes=changes, learning_rate=1e-30, updates=23)
    expected = [alone(trainer, lane) for lane in range(3)]
    for number in range(9):
        losses = [lane[number % len(lane)] for lane in expected]
        tokens = sum(map(len, losses))
        found = trainer.update()
        assert found.tokens == tokens
        assert found.loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-9)


@torch.no_grad()
def alone(trainer, lane):
    """The losses of each piece of a lane, read by itself with nothing carried over but from the piece before."""
    model, lanes, found = trainer.model, trainer.lanes, []
    begin, end = int(lanes.begins[lane]), int(lanes.ends[lane])
    starts = [0, *lanes.document_ends.tolist()]
    for number, (low, high) in enumerate(pairwise(starts)):
        a, b = max(low, begin), min(high, end)
        if a >= b:
            continue
        ids = lanes.ids[a + number : b + number + 1]
        state = None
        for read, target in zip(ids[:-1].split(SEGMENT), ids[1:].split(SEGMENT), strict=True):
            output = model(read, state=None if state is None else model.next_segment(state))
            found.append(F.cross_entropy(output.logits, target, reduction="none"))
            state = output.state
    return found


def test_the_memory_learns_from_the_segment_after():
    trainer = make([torch.randint(VOCABULARY, (61,))], batch=1)
    names = ["unit.memory.write_value.weight", "unit.memory.seed", "unit.memory.gate.weight"]
    weights = dict(trainer.model.named_parameters())
    trainer.update()
    assert all(weights[name].grad is None or not weights[name].grad.any() for name in names)
    trainer.update()
    assert all(weights[name].grad.abs().sum() > 0 for name in names)
    state = trainer.state
    kept = [state.finals, state.slots, *(past.line for past in state.pasts.values())]
    kept += [past.recurrence.deep for past in state.pasts.values()]
    assert not any(x.requires_grad for x in kept), "gradients go back no further"
    assert all(past.heard is None for past in state.pasts.values())


def test_learning_rate_and_gradient_follow_the_settings():
    trainer = make(clip=1e-3)
    found = trainer.run(progress=False)
    rates = [1e-2 * schedule(number / 11, 0.3) for number in range(11)]
    assert [one.learning_rate for one in found] == pytest.approx(rates)
    assert [one.number for one in found] == list(range(1, 12))
    clipped = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]).norm()
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)
    assert all(one.gradient_norm > 1e-2 for one in found)
    assert not trainer.model.training


def test_a_seed_decides_dropout_and_the_global_stream_is_left_alone():
    runs = {}
    for run, seed in (("first", 1), ("again", 1), ("other", 2)):
        trainer = make(changes={"dropout": 0.3}, seed=seed, updates=5)
        torch.manual_seed(len(run))
        before = torch.get_rng_state()
        runs[run] = [one.loss for one in trainer.run(progress=False)]
        assert torch.equal(torch.get_rng_state(), before)
    assert runs["first"] == runs["again"]
    assert runs["first"][0] != runs["other"][0]


def test_it_learns_what_was_told_in_an_earlier_segment():
    """A document says a token at the beginning of its first segment, and is asked for it in the second."""
    texts = [torch.tensor([word, 0, 1, 0, 1, 0, 1, 0, word]) for word in range(2, 7)]
    changes = {"mixer": "attention", "experts": 1, "slots": 4, "width": 16}
    trainer = make(texts, changes, torch.float32, batch=5, updates=260, warmup=0.1)
    losses = [one.loss for one in trainer.run(progress=False)]
    assert losses[1] > 1.5
    assert losses[-1] < 0.2


def test_training_is_watched_and_saved_as_asked():
    trainer, saved = make(), []
    first = trainer.run(5, every=2, save=lambda one: saved.append(len(one.history)), progress=False)
    rest = trainer.run(every=2, save=lambda one: saved.append(len(one.history)), progress=False)
    assert saved == [2, 4, 5, 6, 8, 10, 11]
    assert first + rest == trainer.history
    assert trainer.run(progress=False) == []


def test_silent_where_nobody_watches(capsys):
    make(updates=2).run()
    assert capsys.readouterr() == ("", "")


def test_a_loss_that_is_not_finite_names_the_update():
    trainer = make()
    trainer.update()
    torch.nn.init.constant_(trainer.model.norm.weight, float("nan"))
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan in update 2: lower learning_rate \(got 0.01\)"
    ):
        trainer.update()


def test_states_that_are_not_finite_name_the_update():
    trainer = make()
    trainer.model.embedding.weight.data.mul_(float("inf"))
    with pytest.raises(FloatingPointError, match="a state is not finite in update 1: lower learning_rate"):
        trainer.update()


def test_a_gradient_that_is_not_finite_names_the_update():
    trainer = make()
    trainer.model.norm.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(
        FloatingPointError, match=r"the gradient is (inf|nan) in update 1: lower learning_rate"
    ):
        trainer.update()


def test_a_halting_rule_is_paid_for():
    losses = {}
    for ponder in (0.0, 0.5):
        trainer = make(changes={"halting": "act", "steps": 3}, ponder=ponder, updates=13)
        trainer.run(progress=False)
        ids = documents()[0]
        losses[ponder] = float(trainer.model(ids).thought.ponder.detach().mean())
    assert losses[0.5] < losses[0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": 0}, r"updates must be at least 1 \(got 0\)"),
        ({"batch": 0}, r"batch must be at least 1 \(got 0\)"),
        ({"learning_rate": 0.0}, r"learning_rate must be positive \(got 0.0\)"),
        ({"clip": float("nan")}, r"clip must be positive \(got nan\)"),
        ({"weight_decay": -1.0}, r"weight_decay must not be negative \(got -1.0\)"),
        ({"ponder": -1.0}, r"ponder must not be negative \(got -1.0\)"),
        ({"warmup": 1.5}, r"warmup must be in \[0, 1\] \(got 1.5\)"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LanguageTrainingConfig(**arguments)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="model must be causal"):
        make(changes={"causal": False, "convolution": 0, "mixer": "attention"})
    with pytest.raises(ValueError, match=r"documents must hold tokens from 0 to 28 \(got 3 to 29\)"):
        make([torch.arange(3, 30)])
    with pytest.raises(ValueError, match=r"every must be at least 1 \(got 0\)"):
        make().run(every=0)

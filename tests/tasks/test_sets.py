import json
from dataclasses import replace

import pytest
from structformer.tasks import sets
from structformer.tasks.ledger import Trial
from structformer.tasks.sets import (
    CARD,
    DATA,
    MAXIMUM,
    MIXTURE,
    QUICK,
    SetsSettings,
    make_problem,
    measure,
    run,
)
from structformer.tasks.sets_arms import ARMS, SOES

TINY = replace(
    QUICK,
    updates=dict.fromkeys(DATA, 2),
    sets=dict.fromkeys(DATA, 4),
    rates=(1e-3, 3e-3),
    held=10,
    tested=12,
    permuted=10,
    workers=0,
)


def test_a_run_has_a_row_for_each_problem_and_arm(tmp_path):
    settings = replace(TINY, arms=(SOES, "deep sets", "transformer with positions"))
    rows = run(True, 2, settings, tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [
        (data, arm) for data in DATA for arm in settings.arms
    ]
    assert all(row["seeds"] == 2 and row["failed"] == 0 for row in rows)
    assert all(row["changed"] == 0 for row in rows if row["arm"] == SOES)
    assert {row["arm"]: row["lead"] is None for row in rows}[SOES]
    lines = [json.loads(line) for line in (tmp_path / "sets-quick.jsonl").read_text().splitlines()]
    assert len(lines) == 1 + 5 * 3 * 2
    assert not list(tmp_path.glob("*.partial*"))


def test_a_run_goes_on_where_it_ended(tmp_path, monkeypatch):
    settings = replace(TINY, data=(MAXIMUM,), arms=(SOES, "deep sets"))
    done = []
    own = sets.measure

    def counted(settings, trial):
        done.append(trial)
        if len(done) == 2:
            raise KeyboardInterrupt
        return own(settings, trial)

    monkeypatch.setattr(sets, "measure", counted)
    with pytest.raises(KeyboardInterrupt):
        run(True, 1, settings, tmp_path)
    run(True, 1, settings, tmp_path)
    assert [trial.arm for trial in done] == [SOES, "deep sets", "deep sets"]
    run(True, 1, replace(settings, tested=13), tmp_path)
    assert len(done) == 5


def test_the_rate_is_chosen_by_validation_sets_alone(monkeypatch):
    scores = {1e-3: (-1.0, -9.0), 3e-3: (-2.0, -3.0)}  # of validation and of test sets
    rates = []
    own = sets.train

    def trained(network, losses, training):
        rates.append(training.learning_rate)
        return own(network, losses, training)

    def judged(network, problem, batches):
        validating = len(batches[0].target) == 10
        if not validating:
            return scores[chosen[0]][1]
        return scores[rates[-1]][0]

    chosen = [1e-3]
    monkeypatch.setattr(sets, "train", trained)
    monkeypatch.setattr(sets, "judged", judged)
    found = measure(TINY, Trial(MAXIMUM, SOES, 0))
    assert rates == [1e-3, 3e-3]
    assert (found["rate"], found["validation"], found["score"]) == (1e-3, -1.0, -9.0)


def test_a_rate_at_which_training_diverges_is_not_chosen(monkeypatch):
    own, lost = sets.train, [1e-3]

    def trained(network, losses, training):
        curve = own(network, losses, training)
        curve.diverged = 1 if training.learning_rate in lost else None
        return curve

    monkeypatch.setattr(sets, "train", trained)
    trial = Trial(MAXIMUM, "deep sets", 0)
    assert measure(TINY, trial)["rate"] == 3e-3
    lost[:] = [3e-3]
    assert measure(TINY, trial)["rate"] == 1e-3
    lost[:] = TINY.rates
    with pytest.raises(FloatingPointError, match="deep sets diverged at every rate on max regression"):
        measure(TINY, trial)


def test_the_same_trial_gives_the_same_result():
    first, second = (measure(TINY, Trial(MIXTURE, "set transformer", 1)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ("bags",)}, r"data must be among .* \(got bags\)"),
        ({"arms": ("lstm",)}, r"arms must be among .* \(got lstm\)"),
        ({"updates": {MAXIMUM: 3}}, "updates must be at least 1 for distinct digits"),
        ({"held": 0}, r"held must be at least 1 \(got 0\)"),
        ({"rates": ()}, "rates must hold at least one"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)


def test_the_card_is_of_this_task():
    assert CARD.name == "sets"
    assert CARD.headline in ARMS
    assert {data for other in CARD.published for data in other.figures} <= set(DATA)
    for data in DATA:
        make_problem(data, "digits", 0)
    assert set(SetsSettings().updates) == set(DATA)

import time

import numpy as np
import pytest
import torch
from structformer.tasks import training
from structformer.tasks.comparison import compare, measured, trials
from structformer.tasks.ledger import Arm, Ledger, Trial

ARMS = (Arm("even"), Arm("odd"))


def score(trial):
    return {"score": float(trial.seed % 2 == (trial.arm == "odd"))}


def broken(trial):
    if trial.arm == "odd":
        raise RuntimeError("no\nluck")
    return score(trial)


def never(trial):
    raise AssertionError("what is known is not measured again")


def hungry(trial):
    block = np.ones(40_000_000 // 8)
    time.sleep(0.05)
    return {"score": float(block[0])}


def book(path):
    return Ledger(path / "x.jsonl", "structformer.tasks.mqar", "structformer bench x", {}, ARMS)


def test_the_first_seeds_come_first():
    found = trials(("a", "b"), ("even", "odd"), 2)
    assert [trial.seed for trial in found] == [0] * 4 + [1] * 4
    assert found[:2] == [Trial("a", "even", 0), Trial("a", "odd", 0)]
    with pytest.raises(ValueError, match=r"seeds must be at least 1 \(got 0\)"):
        trials(("a",), ("even",), 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_are_measured_once(tmp_path, workers):
    wanted = trials(("a",), ("even", "odd"), 2)
    rows = compare(book(tmp_path), score, wanted, workers)
    assert [row["score"] for row in rows] == [1.0, 0.0, 0.0, 1.0]
    assert {"seconds", "cpu seconds", "megabytes", "load", "date"} <= set(rows[0])
    assert compare(book(tmp_path), never, wanted, workers) == rows


def test_an_error_is_raised_or_a_result(tmp_path):
    wanted = trials(("a",), ("even", "odd"), 1)
    with pytest.raises(RuntimeError, match="no"):
        compare(book(tmp_path), broken, wanted, 0)
    rows = compare(book(tmp_path), broken, wanted, 0, failures=True)
    assert rows[1]["error"] == "RuntimeError: no luck"
    assert "score" not in rows[1]


def test_time_and_memory_are_those_of_the_trial():
    found = measured(hungry, Trial("a", "even", 0), failures=False)
    assert found["seconds"] >= 0.05
    assert found["megabytes"] is None or 35 < found["megabytes"] < 80


class CutShort(Exception):
    pass


def test_a_trial_taken_up_again_took_what_all_its_sittings_took(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVED_EVERY", 0)
    wanted, ledger, sittings = trials(("a",), ("even",), 1), book(tmp_path), []

    def taught(trial):
        weight = torch.nn.Linear(1, 1)

        def losses(update):
            if not sittings and update == 2:
                sittings.append("first")
                raise CutShort
            if not sittings:
                busy(0.2)
            return training.Losses(weight(torch.ones(1, 1)).sum(), 0.0)

        settings = training.TrainingSettings(updates=3, noted=1)
        curve = training.train(weight, losses, settings, ledger.checkpoint(trial))
        return {"score": 1.0, **curve.costs()}

    with pytest.raises(CutShort):
        compare(ledger, taught, wanted, 0)
    (row,) = compare(ledger, taught, wanted, 0)
    # The second sitting was one update, and took next to nothing.
    assert row["cpu seconds"] >= 0.4
    assert row["seconds"] >= 0.4


def busy(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

from functools import partial

import pytest
import torch
from structformer.tasks.runs import Run
from structformer.tasks.sweeps import best_rates, generator, sweep


def measure(offset, arm, rate, seed, checkpoint):
    assert torch.get_num_threads() >= 1
    found = {"ours": 0.9, "theirs": 0.5}[arm] - abs(rate - 0.1) + offset * seed
    return {
        "arm": arm,
        "rate": rate,
        "seed": seed,
        "size": 3,
        "validation": found,
        "curve": [checkpoint.name],
    }


def test_a_sweep_shows_the_best_rates_and_then_all_rows(tmp_path):
    run = Run(tmp_path / "task.json", {})
    rows = sweep(run, partial(measure, 0.01), ("ours", "theirs"), (0.1, 0.3), seeds=2, workers=2)
    assert len(rows) == 2 + 8
    assert all("curve" not in row for row in rows)
    assert rows[0] == {
        "arm": "ours, best rate",
        "rate": 0.1,
        "seed": None,
        "size": 3,
        "validation": pytest.approx(0.905),
    }
    run.finish()
    # The states of trainings side by side are kept in different files.
    files = {row["curve"][0] for part in run._parts.values() for row in part["records"]}
    assert len(files) == 8


def test_the_best_rate_is_that_of_the_best_mean():
    rows = [
        {"arm": "ours", "rate": rate, "seed": seed, "validation": value}
        for rate, values in {1.0: (0.9, 0.1), 2.0: (0.6, 0.6)}.items()
        for seed, value in enumerate(values)
    ]
    assert [row["rate"] for row in best_rates(rows)] == [2.0]


def test_seeds_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"seeds must be at least 1 \(got 0\)"):
        sweep(Run(tmp_path / "task.json", {}), partial(measure, 0.0), ("ours",), (0.1,), seeds=0, workers=1)


def test_generators_are_told_apart_by_their_numbers():
    drawn = [
        torch.rand(3, generator=generator(*numbers)).tolist() for numbers in [(1, 2), (1, 2), (2, 1), (1,)]
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] != drawn[3]

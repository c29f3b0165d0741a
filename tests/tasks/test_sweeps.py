from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from structformer.tasks.benchmark import Benchmark
from structformer.tasks.ledger import read_ledger
from structformer.tasks.sweeps import best_rates, generator, shared, sweep
from structformer.tasks.task_card import TaskCard

CARD = TaskCard("mqar", "", "recall", "%", headline="ressformer", figures={"rate": ""}, derived=best_rates)
SEEN: list[tuple[str, str, float, int, Path]] = []


def measure(offset, data, arm, rate, seed, checkpoint):
    SEEN.append((data, arm, rate, seed, checkpoint))
    found = {"ressformer": 0.9, "theirs": 0.5}[arm] - abs(rate - 0.1) + offset * seed
    return {"validation": found, "scores": {"short": 100 * found, "long": 50 * found}}


@dataclass(frozen=True)
class Settings:
    arms: tuple[str, ...] = ("ressformer", "theirs")
    rates: tuple[float, ...] = (0.1, 0.3)
    workers: int = 0
    ours: Mapping[str, int] = field(default_factory=lambda: {"slots": 8})
    tasks: tuple[int, ...] = (1,)
    width: int = 8


def run(folder, seeds=2, offset=0.01, **settings):
    SEEN.clear()
    benchmark = Benchmark(CARD, False, seeds, folder)
    return sweep(benchmark, partial(measure, offset), ("lists",), Settings(**settings), ("tasks",))


def test_a_sweep_tells_each_arm_at_its_best_rate(tmp_path):
    rows = run(tmp_path)
    assert [(row["data"], row["arm"], row["rate"], row["seeds"]) for row in rows] == [
        (f"lists {name}", arm, 0.1, 2) for name in ("short", "long") for arm in ("ressformer", "theirs")
    ]
    assert rows[0]["mean"] == pytest.approx(90.5)
    assert rows[3]["mean"] == pytest.approx(25.25)
    assert rows[1]["lead"] == pytest.approx(40)
    _, trained = read_ledger(tmp_path / "mqar.jsonl")
    assert len(trained) == 8


def test_a_rate_more_trains_only_that_rate(tmp_path):
    run(tmp_path)
    rows = run(tmp_path, rates=(0.1, 0.3, 0.12))
    assert {rate for _, _, rate, _, _ in SEEN} == {0.12}
    assert rows[0]["rate"] == 0.1


@pytest.mark.parametrize(
    ("changed", "trained"),
    [
        ({"ours": {"slots": 0}}, {"ressformer"}),
        ({"width": 16}, {"ressformer", "theirs"}),
        ({"tasks": (1, 2)}, set()),
    ],
)
def test_only_those_whose_settings_changed_train_again(tmp_path, changed, trained):
    run(tmp_path)
    run(tmp_path, **changed)
    assert {arm for _, arm, *_ in SEEN} == trained


def test_every_training_has_a_file_of_its_own(tmp_path):
    run(tmp_path)
    files = {checkpoint for *_, checkpoint in SEEN}
    assert len(files) == 8
    assert all(file.parent == tmp_path and file.name.endswith(".partial.pt") for file in files)


def test_the_best_rate_is_that_of_the_best_mean():
    rows = [
        {"data": "d", "arm": f"ours, rate {rate:g}", "rate": rate, "seed": seed, "validation": value,
         "scores": {"": value}}
        for rate, values in {1.0: (0.9, 0.1), 2.0: (0.6, 0.6)}.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    assert [(row["data"], row["arm"], row["rate"], row["score"]) for row in best_rates(rows)] == [
        ("d", "ours", 2.0, 0.6)
    ] * 2


def test_seeds_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"seeds must be at least 1 \(got 0\)"):
        run(tmp_path, seeds=0)


def test_what_arms_differ_in_is_not_shared():
    assert shared(Settings(), "tasks") == {"width": 8}


def test_generators_are_told_apart_by_their_numbers():
    drawn = [
        torch.rand(3, generator=generator(*numbers)).tolist() for numbers in [(1, 2), (1, 2), (2, 1), (1,)]
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] != drawn[3]

from types import SimpleNamespace

import pytest
from structformer.tasks.benchmark import Benchmark
from structformer.tasks.comparison import trials
from structformer.tasks.ledger import Arm, Trial, read_ledger
from structformer.tasks.task_card import TaskCard

# Of a module that is there: the ledger reads its source.
CARD = TaskCard("sets", "Sets", "sets", "accuracy, %", headline="ours")
ARMS = (Arm("ours", ours=True), Arm("mean"))
WANTED = trials(["coins"], ["ours", "mean"], 2)


def measure(trial: Trial):
    return {"score": trial.seed + (10.0 if trial.arm == "ours" else 0.0)}


def run(folder, quick=False, measure=measure):
    return Benchmark(CARD, quick, 2, folder).run(measure, WANTED, {"epochs": 3}, ARMS, workers=0)


@pytest.mark.parametrize(("quick", "name"), [(False, "sets"), (True, "sets-quick")])
def test_a_run_leaves_one_file_that_says_how_it_was_made(tmp_path, quick, name):
    run(tmp_path, quick)
    assert [file.name for file in tmp_path.iterdir()] == [f"{name}.jsonl"]
    runs, rows = read_ledger(tmp_path / f"{name}.jsonl")
    (about,) = runs.values()
    assert about["command"] == f"structformer bench sets {'--quick' if quick else '--full'} --seeds 2"
    assert about["settings"] == {"epochs": 3}
    assert [row["score"] for row in rows] == [10.0, 0.0, 11.0, 1.0]


def test_its_summary_sets_the_headline_arm_beside_the_others(tmp_path):
    ours, mean = run(tmp_path)
    assert (ours["mean"], ours["lead"]) == (10.5, None)
    assert (mean["mean"], mean["lead"]) == (0.5, 10.0)


def test_what_is_there_is_not_measured_again(tmp_path):
    def never(trial: Trial):
        raise AssertionError(f"{trial} was measured again")

    assert [row["mean"] for row in run(tmp_path)] == [row["mean"] for row in run(tmp_path, measure=never)]


def test_what_is_tried_on_the_way_lies_in_a_file_beside_it(tmp_path):
    ledger = Benchmark(CARD, True, 1, tmp_path).ledger({}, ARMS, "-tuning")
    assert ledger.path == tmp_path / "sets-quick-tuning.jsonl"


def seen(settings, trial: Trial):
    return {"score": float(settings.bonus + (trial.arm == "ours"))}


def test_the_arms_that_settings_name_are_judged_on_all_data(tmp_path):
    settings = SimpleNamespace(arms=("ours",), workers=0, bonus=5)
    arms = {arm.name: arm for arm in ARMS}
    benchmark = Benchmark(CARD, True, 2, tmp_path)
    rows = benchmark.judge(seen, ("a", "b"), settings, arms, {"bonus": 5})
    assert [(row["data"], row["arm"], row["mean"], row["seeds"]) for row in rows] == [
        ("a", "ours", 6.0, 2), ("b", "ours", 6.0, 2)
    ]  # fmt: skip
    runs, _ = read_ledger(tmp_path / "sets-quick.jsonl")
    (about,) = runs.values()
    assert about["settings"] == {"bonus": 5}
    assert [arm["name"] for arm in about["arms"]] == ["ours"]

import json
from dataclasses import replace

import pytest
import torch
from structformer.tasks.benchmark import Benchmark
from structformer.tasks.node_arms import NodeArm
from structformer.tasks.node_comparison import (
    NodeSettings,
    NodeTask,
    compare_nodes,
    final_trial,
)
from structformer.tasks.node_problem import Problem, Split
from structformer.tasks.task_card import TaskCard

SETTINGS = NodeSettings(("first", "second"), ("tuned", "fixed"), tuning_seeds=2, permutations=0, workers=0)
FITTED = []


def problem(data, seed):
    y = torch.arange(30) % 3
    place = torch.arange(30) // 10
    return Problem.of(torch.zeros(30, 1), y, Split(place == 0, place == 1, place == 2))


def guess(nodes, options, seed):
    """Say the right class of so many of the nodes to choose by, and the wrong one of all others."""
    FITTED.append((options["right"], seed))
    known = nodes.labels.clamp(min=0)
    said = torch.where(nodes.val & (torch.arange(30) < 10 + options["right"]), known, known + 1)
    scores = torch.nn.functional.one_hot(said % 3, 3).double()
    return lambda nodes: scores


def arms(data):
    rights = (2, 9, 5) if data == "first" else (7, 1, 7)
    tuned = NodeArm("tuned", guess, tuple({"right": right} for right in rights))
    return tuned, NodeArm("fixed", guess, ({"right": 4},))


CARD = TaskCard("latent_tables", "", "nodes", "accuracy, %", "tuned")
TASK = NodeTask(problem, arms, {"second": 2})


def run(folder, settings=SETTINGS, seeds=3):
    FITTED.clear()
    return compare_nodes(Benchmark(CARD, False, seeds, folder), TASK, settings)


def test_the_configuration_is_that_of_the_best_validation_score(tmp_path):
    rows = run(tmp_path)
    found = {(row["data"], row["arm"], row["seed"]): row["configuration"] for row in rows}
    assert found[("first", "tuned", 0)] == 1
    assert found[("second", "tuned", 0)] == 0
    assert found[("first", "fixed", 2)] == 0
    assert next(row["validation"] for row in rows if row["arm"] == "tuned") == pytest.approx(90)


def test_each_configuration_is_tried_with_the_first_seeds_and_the_best_with_all(tmp_path):
    rows = run(tmp_path)
    assert len(rows) == 2 * 3 + 2 * 2
    tried = [(right, seed) for right in (2, 9, 5, 7, 1, 7) for seed in range(2)]
    assert sorted(FITTED[: len(tried)]) == sorted(tried)
    assert len(FITTED) == len(tried) + len(rows)
    lines = (tmp_path / "latent_tables-tuning.jsonl").read_text().splitlines()
    assert [json.loads(line).get("score") is None for line in lines] == [True] + [False] * len(tried)


def test_what_is_on_disk_is_not_measured_again(tmp_path):
    first = run(tmp_path)
    assert run(tmp_path) == first
    assert FITTED == []
    assert len(run(tmp_path, replace(SETTINGS, arms=("fixed",)), seeds=4)) == 4 + 2
    assert FITTED == [(4, 3)]


def test_fewer_configurations_are_tried_where_the_settings_say_so(tmp_path):
    rows = run(tmp_path, replace(SETTINGS, configurations=1))
    assert {row["configuration"] for row in rows} == {0}
    assert len(FITTED) == len(rows)


def test_most_epochs_bind_those_that_have_some():
    asked = []
    arm = NodeArm("a", lambda nodes, options, seed: asked.append(options) or guess(nodes, options, seed),
                  ({"right": 1, "epochs": 50}, {"right": 2}))  # fmt: skip
    task = replace(TASK, arms=lambda data: (arm,))
    for number, epochs in ((0, None), (0, 7), (1, 7)):
        settings = replace(SETTINGS, epochs=epochs)
        final_trial(
            task, settings, {"a": {"first": number}}, task.wanted(replace(settings, arms=("a",)), 1)[0]
        )
    assert [options.get("epochs") for options in asked] == [50, 7, None]


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"configurations must be from 1 to 4 \(got 5\)"):
        replace(SETTINGS, configurations=5)
    with pytest.raises(ValueError, match="tuning_seeds must be at least 1"):
        replace(SETTINGS, tuning_seeds=0)
    with pytest.raises(ValueError, match="permutations must be at least 0"):
        replace(SETTINGS, permutations=-1)
    with pytest.raises(ValueError, match=r"data must be among first \(got second\)"):
        SETTINGS.check(("first",), ("tuned", "fixed"))
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(tmp_path, seeds=0)
    with pytest.raises(ValueError, match=r"grid must hold 1 to 4 configurations \(got 5\)"):
        NodeArm("many", guess, ({},) * 5)

from dataclasses import replace

import pytest
from structformer.tasks.summaries import summary
from structformer.tasks.task_card import TaskCard

CARD = TaskCard("x", "X", "family", "accuracy, %", headline="ours", figures={"changed": "changed, %"})
SCORES = {"ours": (80.0, 84.0, 86.0), "forest": (79.0, 82.0, 83.0)}
ROWS = [
    {
        "data": "wine",
        "arm": arm,
        "seed": seed,
        "score": score,
        "seconds": seed + 1.0,
        "megabytes": None,
        "changed": 2.0,
    }
    for arm, scores in SCORES.items()
    for seed, score in enumerate(scores)
]


def test_the_lead_is_paired_by_seed():
    ours, forest = summary(ROWS, CARD)
    assert (ours["mean"], ours["sd"]) == pytest.approx((250 / 3, 3.0551), abs=1e-4)
    assert ours["lead"] is None
    assert forest["lead"] == pytest.approx(2.0)
    assert forest["high"] - forest["low"] == pytest.approx(2 * 4.30265 * 1.0 / 3**0.5, rel=1e-4)
    assert (forest["seconds"], forest["megabytes"], forest["changed"]) == (2.0, None, 2.0)


def test_where_less_is_better_a_lead_is_less():
    forest = summary(ROWS, replace(CARD, better="lower"))[1]
    assert forest["lead"] == pytest.approx(-2.0)


def test_seeds_that_only_one_has_do_not_count_for_the_lead():
    forest = summary(ROWS[1:], CARD)[1]
    assert forest["lead"] == pytest.approx(2.5)
    assert forest["seeds"] == 3


def test_failures_are_counted_and_left_out():
    failed = {"data": "wine", "arm": "svm", "seed": 0, "error": "RuntimeError: no", "seconds": 1.0}
    svm = summary([*ROWS, failed], CARD)[2]
    assert (svm["failed"], svm["seeds"], svm["mean"], svm["lead"]) == (1, 0, None, None)


def test_what_is_derived_from_all_trials_is_summed_up_with_them():
    def best(rows):
        top = {seed: max(row["score"] for row in rows if row["seed"] == seed) for seed in range(3)}
        return [{**row, "changed": float(row["score"] == top[row["seed"]])} for row in rows]

    ours, forest = summary(ROWS, replace(CARD, derived=best))
    assert (ours["changed"], forest["changed"]) == (1.0, 0.0)

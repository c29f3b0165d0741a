import pytest
from structformer.tasks.mixed_tables_ranks import ALL, with_ranks


def row(data, arm, score, fit=1.0, seed=0):
    common = {"data": data, "arm": arm, "seed": seed, "seconds": 2.0}
    if score is None:
        return {**common, "error": "ValueError: no"}
    return {**common, "score": score, "fit": fit, "predict": 0.1}


ROWS = [
    row("one", "a", 0.9, fit=8.0),
    row("one", "b", 0.8, fit=2.0),
    row("one", "c", 0.8),
    row("two", "a", None),
    row("two", "b", 0.1, fit=4.0),
    row("two", "c", 0.2, fit=12.0),
]


def together(arm, rows=ROWS):
    return next(row for row in with_ranks(rows, "b") if (row["data"], row["arm"]) == (ALL, arm))


def test_ranks_on_each_table():
    ranks = {(row["data"], row["arm"]): row["rank"] for row in with_ranks(ROWS, "b")}
    # Equal scores share their ranks.
    assert (ranks["one", "a"], ranks["one", "b"], ranks["one", "c"]) == (1.0, 2.5, 2.5)
    # Who fails is last, however bad the others are.
    assert (ranks["two", "a"], ranks["two", "b"], ranks["two", "c"]) == (3.0, 2.0, 1.0)


def test_all_tables_together():
    assert together("a")["rank"] == 2.0
    assert together("a")["score"] == 0.5
    assert together("a")["failures"] == 1
    assert together("c")["rank"] == 1.75
    assert together("c")["score"] == pytest.approx((3 - 1.75) / 2)
    assert together("c")["failures"] == 0


def test_fit_seconds_are_in_units_of_one_arm():
    ratios = {arm: together(arm)["fit ratio"] for arm in "abc"}
    # c took 1 / 2 on one table and 12 / 4 on the other; a did not finish the second.
    assert ratios == {"a": 4.0, "b": 1.0, "c": 1.75}
    assert together("a", [row for row in ROWS if row["arm"] != "b"])["fit ratio"] is None


def test_each_seed_has_its_own_ranks():
    again = [{**row, "seed": 1, **({"score": -row["score"]} if "score" in row else {})} for row in ROWS]
    found = {
        row["seed"]: row["rank"]
        for row in with_ranks(ROWS + again, "b")
        if (row["data"], row["arm"]) == (ALL, "b")
    }
    # On seed 0 it shares the second rank and has the second; on seed 1 it shares the first and has the first.
    assert found == {0: 2.25, 1: 1.25}


def test_two_arms_that_fail_share_the_last_rank():
    rows = [row("one", "a", None), row("one", "b", None), row("one", "c", -5.0)]
    assert [row["rank"] for row in with_ranks(rows, "b")[:3]] == [2.5, 2.5, 1.0]

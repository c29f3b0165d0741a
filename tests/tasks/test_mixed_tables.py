from dataclasses import replace

import pytest
import structformer.tasks.mixed_tables as mixed_tables
from structformer.tasks.ledger import Trial, read_ledger
from structformer.tasks.mixed_tables import CARD, QUICK, MixedTablesSettings, measure, run
from structformer.tasks.mixed_tables_data import read_table
from structformer.tasks.mixed_tables_ranks import ALL

TINY = replace(
    QUICK,
    arms=("soes", "linear"),
    options={"soes": {"epochs": 2, "members": 1, "width": 16}},
    rows=80,
    permutations=3,
    shuffled_rows=20,
    workers=0,
)


def test_a_run_has_a_row_a_table_and_arm_and_one_an_arm_for_all(tmp_path):
    rows = run(True, 2, TINY, tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [
        (data, arm) for data in (*TINY.data, ALL) for arm in TINY.arms
    ]
    for row in rows:
        assert (row["seeds"], row["failed"]) == (2, 0)
        assert set(CARD.figures) <= set(row)
    by_data = {data: {row["arm"]: row for row in rows if row["data"] == data} for data in (*TINY.data, ALL)}
    assert by_data["made-up classes"]["soes"]["changed"] == 0.0
    assert by_data["made-up numbers"]["soes"]["largest"] < 1e-12
    assert by_data["made-up numbers"]["soes"]["accuracy"] is None
    # Two arms: the ranks of one are what the other's leave.
    assert by_data[ALL]["soes"]["rank"] + by_data[ALL]["linear"]["rank"] == 3
    assert by_data[ALL]["soes"]["mean"] == pytest.approx(2 - by_data[ALL]["soes"]["rank"])
    # Training rows and the model's own options come from the ledger's settings and arms.
    runs, trials = read_ledger(tmp_path / "mixed_tables-quick.jsonl")
    assert len(trials) == 8
    (about,) = runs.values()
    assert about["settings"] == {"rows": 80, "permutations": 3, "shuffled_rows": 20, "retrained_rows": 0}
    assert about["arms"][0]["options"] == {"model": "soes", **TINY.options["soes"]}


def test_a_run_is_taken_up_where_it_ended(tmp_path, monkeypatch):
    first = run(True, 1, TINY, tmp_path)
    met = []

    def note(settings, trial):
        met.append(trial)
        return {"score": 0.0, "fit": 1.0, "predict": 0.0}

    monkeypatch.setattr(mixed_tables, "measure", note)
    assert run(True, 1, TINY, tmp_path) == first
    assert not met
    # Another option of one arm leaves the other's results as they are.
    run(True, 1, replace(TINY, options={"soes": {"epochs": 1}}), tmp_path)
    assert {trial.arm for trial in met} == {"soes"}


def test_an_arm_that_fails_is_counted_and_ranks_last(tmp_path, monkeypatch):
    build = mixed_tables.build

    def fails(one, task, seed, threads):
        if one.name == "soes" and task == "regression":
            raise ValueError("no such numbers")
        return build(one, task, seed, threads)

    monkeypatch.setattr(mixed_tables, "build", fails)
    rows = run(True, 1, TINY, tmp_path)
    found = {(row["data"], row["arm"]): row for row in rows}
    assert found["made-up numbers", "soes"]["failed"] == 1
    assert found["made-up numbers", "soes"]["mean"] is None
    assert found[ALL, "soes"]["failures"] == 1
    assert found[ALL, "soes"]["rank"] >= 1.5


def test_the_first_seed_tells_what_the_order_of_rows_and_columns_does():
    settings = replace(TINY, retrained_rows=320, options={"soes": {"epochs": 1, "members": 1, "width": 16}})
    first, second = (measure(settings, Trial("made-up classes", "soes", seed)) for seed in (0, 1))
    assert (first["changed"], first["retrained"]) == (0.0, 0.0)
    assert first["largest"] < 1e-12
    assert not {"changed", "retrained"} & set(second)


def test_a_missing_table_is_no_arms_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path))
    read_table.cache_clear()  # what another test has read is not missing
    with pytest.raises(FileNotFoundError, match=r"titanic"):
        run(False, 1, MixedTablesSettings(data=("titanic",), workers=0), tmp_path)


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"arms must be among .* \(got TabPFN\)"):
        MixedTablesSettings(arms=("TabPFN",))
    with pytest.raises(ValueError, match=r"data must be among .* \(got iris\)"):
        MixedTablesSettings(data=("iris",))
    with pytest.raises(ValueError, match=r"options must be among soes \(got linear\)"):
        MixedTablesSettings(arms=("soes",), options={"linear": {}})
    with pytest.raises(ValueError, match=r"rows must be at least 20 \(got 1\)"):
        MixedTablesSettings(rows=1)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)

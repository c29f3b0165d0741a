import json
from dataclasses import replace

import pytest
from structformer.tasks import node_comparison
from structformer.tasks.latent_tables import ARMS, QUICK, SIZES, problem, run

TINY = replace(
    QUICK,
    arms=("soes", "soes, inductive", "kNN-GCN", "label spreading"),
    configurations=2,
    tuning_seeds=1,
    epochs=2,
    permutations=2,
    workers=0,
)


def test_a_run_compares_all_arms_and_is_not_repeated(tmp_path, monkeypatch):
    rows = run(True, 1, TINY, tmp_path)
    assert [row["arm"] for row in rows] == list(TINY.arms)
    assert all(25 < row["mean"] <= 100 and row["seeds"] == 1 for row in rows)
    assert next(row["mean"] for row in rows if row["arm"] == "label spreading") > 70
    ours = [row for row in rows if row["arm"].startswith("soes")]
    assert [row["changed"] for row in ours] == [0, 0]
    assert all(row["largest"] < 1e-5 for row in ours)
    found = [json.loads(line) for line in (tmp_path / "latent_tables-quick.jsonl").read_text().splitlines()]
    assert found[0]["about"]["command"] == "structformer bench latent_tables --quick --seeds 1"
    monkeypatch.setattr(node_comparison, "final_trial", lambda *_: 1 / 0)
    monkeypatch.setattr(node_comparison, "validation_trial", lambda *_: 1 / 0)
    assert run(True, 1, TINY, tmp_path) == rows


@pytest.mark.parametrize(("data", "asked"), [("wine", 148), ("cancer", 539), ("digits", 1647)])
def test_splits_are_of_the_sizes_of_the_protocol(data, asked):
    found = problem(data, 3)
    sizes = tuple(int(part.sum()) for part in (found.nodes.train, found.nodes.val, found.test))
    assert sizes == (*SIZES[data], asked)
    assert not problem(data, 4).test.equal(found.test)
    assert problem(data, 3).test.equal(found.test)
    assert set(found.nodes.labels[found.test].tolist()) == {-1}
    assert not found.nodes.edge_index.numel()


def test_wine_and_cancer_are_scaled_and_digits_are_not():
    for data in ("wine", "cancer"):
        x = problem(data, 0).nodes.x
        assert x.mean(0).abs().max() < 1e-5
        assert x.std(0).sub(1).abs().max() < 0.01
    assert problem("digits", 0).nodes.x.max() == 16


def test_all_arms_that_learn_choose_among_as_many_configurations():
    assert {len(arm.grid) for arm in ARMS} == {4}
    assert {arm.name for arm in ARMS if arm.ours} >= {"soes", "ressformer", "soes, inductive"}


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"data must be among .* \(got iris\)"):
        run(True, 1, replace(TINY, data=("iris",)), tmp_path)
    with pytest.raises(ValueError, match=r"arms must be among .* \(got LDS\)"):
        run(True, 1, replace(TINY, arms=("LDS",)), tmp_path)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY, tmp_path)

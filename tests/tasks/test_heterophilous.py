from dataclasses import replace

import pytest
from structformer.tasks import heterophilous, node_comparison
from structformer.tasks.heterophilous import ARMS, DATA, QUICK, SPLITS, TASK, problem, run

TINY = replace(QUICK, arms=("soes, both", "GCN"), epochs=2, workers=0)


@pytest.fixture
def real(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    yield
    heterophilous._graph.cache_clear()


def test_a_run_compares_all_arms_and_is_not_repeated(real, tmp_path, monkeypatch):
    rows = run(True, 1, TINY, tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [("chameleon", arm) for arm in TINY.arms]
    assert rows[0]["changed"] == 0
    monkeypatch.setattr(node_comparison, "final_trial", lambda *_: 1 / 0)
    assert run(True, 1, TINY, tmp_path) == rows


def test_seeds_are_the_splits_that_come_with_the_data(real):
    first, second = problem("chameleon", 0), problem("chameleon", 1)
    assert len(first.answers) == 890
    assert not first.test.equal(second.test)
    assert first.nodes.measure == "accuracy"
    for found in (first, second):
        parts = (found.nodes.train, found.nodes.val, found.test)
        assert sum(int(part.sum()) for part in parts) == 890
        assert set(found.nodes.labels[found.test].tolist()) == {-1}


def test_minesweeper_is_scored_by_the_area_under_the_curve(real):
    assert problem("minesweeper", 0).nodes.measure == "ROC-AUC"


def test_goods_have_labels_a_class(real):
    found = problem("amazon photo", 2)
    assert found.answers[found.nodes.train].bincount().tolist() == [20] * 8
    assert found.answers[found.nodes.val].bincount().tolist() == [30] * 8
    assert int(found.test.sum()) == 7_650 - 8 * 50


def test_seeds_beyond_the_splits_are_left_out():
    wanted = TASK.wanted(replace(TINY, data=DATA), 12)
    assert {trial.seed for trial in wanted if trial.data in SPLITS} == set(range(10))
    assert {trial.seed for trial in wanted if trial.data == "amazon photo"} == set(range(12))


def test_all_arms_choose_among_as_many_configurations():
    assert {len(arm.grid) for arm in ARMS} == {4}


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"data must be among .* \(got squirrel\)"):
        run(True, 1, replace(TINY, data=("squirrel",)), tmp_path)

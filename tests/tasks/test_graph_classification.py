from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from structformer.tasks import graph_classification
from structformer.tasks.graph_arms import OURS
from structformer.tasks.graph_classification import (
    DATA,
    QUICK,
    SMALL_WORLDS,
    GraphClassificationSettings,
    collection,
    fold_split,
    run,
    small_worlds,
)
from structformer.tasks.graph_problems import Budget, Point
from structformer.tasks.ledger import read_ledger

TINY = replace(
    QUICK,
    arms=(OURS, "random forest, counts"),
    budget=Budget(epochs=1, patience=1, batch=16, parameters=100_000, grid=(Point(3e-3, 0.0),)),
    graphs=20,
    permutations=10,
    workers=0,
)


def test_a_run_has_a_row_an_arm_and_is_taken_up(tmp_path, monkeypatch):
    rows = run(True, 2, TINY, tmp_path)
    assert [(row["arm"], row["seeds"]) for row in rows] == [(OURS, 2), ("random forest, counts", 2)]
    _, kept = read_ledger(tmp_path / "graph_classification-quick.jsonl")
    assert [(row["seed"], row["arm"]) for row in kept] == [
        (fold, arm) for fold in (0, 1) for arm in (OURS, "random forest, counts")
    ]
    ours = [row for row in kept if row["arm"] == OURS]
    assert all(row["changed"] == 0 and row["largest change"] < 1e-9 for row in ours)
    monkeypatch.setattr(graph_classification, "measure", lambda *_: pytest.fail("measured again"))
    assert run(True, 2, TINY, tmp_path) == rows


def test_folds_are_the_test_once_and_parts_do_not_meet():
    graphs, folds = small_worlds(30)
    assert sorted(np.concatenate(folds).tolist()) == list(range(60))
    number = {id(graph): place for place, graph in enumerate(graphs.graphs)}
    for fold in (0, 7):
        split = fold_split(graphs, folds, fold)
        parts = [[number[id(g)] for g in part.graphs] for part in (split.train, split.validation, split.test)]
        assert sorted(chain(*parts)) == list(range(60))
        assert parts[2] == folds[fold].tolist()
        assert [len(part) for part in parts] == [48, 6, 6]
        assert np.bincount(split.validation.target).tolist() == [3, 3]


def test_all_arms_get_the_same_split():
    given = small_worlds(30)
    one, other = (fold_split(*given, 3) for _ in range(2))
    assert [id(g) for g in one.validation.graphs] == [id(g) for g in other.validation.graphs]


def test_small_worlds_differ_in_structure_alone():
    graphs, _ = small_worlds(10)
    assert {graph.edge_index.shape for graph in graphs.graphs} == {(2, 80)}
    assert all((graph.x == 1).all() for graph in graphs.graphs)
    assert graphs.target.tolist() == [0] * 10 + [1] * 10


@pytest.mark.parametrize(("name", "graphs", "features"), [("MUTAG", 188, 7), ("ENZYMES", 600, 3)])
def test_folds_of_the_real_graphs(name, graphs, features, data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    found, folds = collection(name, 1)
    assert (len(found), len(folds), found.graphs[0].x.shape[1]) == (graphs, 10, features)
    split = fold_split(found, folds, 9)
    assert len(split.train) + len(split.validation) + len(split.test) == graphs
    assert len(split.test) == len(folds[9])


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"data must be among MUTAG.*got NCI1"):
        GraphClassificationSettings(data=("NCI1",))
    with pytest.raises(ValueError, match=r"arms must be among .*got lstm"):
        GraphClassificationSettings(arms=("lstm",))
    with pytest.raises(ValueError, match=r"permutations must be at least 1 \(got 0\)"):
        GraphClassificationSettings(permutations=0)
    with pytest.raises(ValueError, match=r"at most 10 \(got 11\)"):
        run(True, 11, TINY)
    assert SMALL_WORLDS not in DATA

from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from structformer.tasks import molecules
from structformer.tasks.graph_arms import OURS
from structformer.tasks.graph_problems import Budget, Point
from structformer.tasks.ledger import read_ledger
from structformer.tasks.molecules import (
    CHAINS,
    ESOL,
    HIV,
    QUICK,
    SCAFFOLDS,
    MoleculesSettings,
    chains,
    molecule_split,
    read,
    run,
)

pytest.importorskip("rdkit")
FOREST = "random forest, fingerprints"
TINY = replace(
    QUICK,
    arms=(OURS, FOREST),
    budgets={CHAINS: Budget(epochs=1, patience=1, batch=16, parameters=100_000, grid=(Point(3e-3, 0.0),))},
    molecules=60,
    permutations=10,
    workers=0,
)


def test_a_run_has_a_row_an_arm_and_is_taken_up(tmp_path, monkeypatch):
    rows = run(True, 2, TINY, tmp_path)
    assert [(row["arm"], row["seeds"]) for row in rows] == [(OURS, 2), (FOREST, 2)]
    _, kept = read_ledger(tmp_path / "molecules-quick.jsonl")
    assert all(row["changed"] == 0 and row["largest change"] < 1e-9 for row in kept)
    assert all(row["refused"] == 0 and row["rmse"] > 0 for row in kept)
    monkeypatch.setattr(molecules, "measure", lambda *_: pytest.fail("measured again"))
    assert run(True, 2, TINY, tmp_path) == rows


def test_a_data_set_may_have_fewer_seeds(tmp_path):
    rows = run(True, 3, replace(TINY, arms=(FOREST,), seeds={CHAINS: 1}), tmp_path)
    assert [row["seeds"] for row in rows] == [1]


def test_random_splits_are_80_10_10_and_differ_by_seed():
    found, _ = read(CHAINS, 200)
    number = {id(graph): place for place, graph in enumerate(found.graphs.graphs)}

    def parts(seed):
        split = molecule_split(CHAINS, found, seed)
        return [[number[id(g)] for g in part.graphs] for part in (split.train, split.validation, split.test)]

    assert [len(part) for part in parts(0)] == [160, 20, 20]
    assert sorted(chain(*parts(0))) == list(range(200))
    assert parts(0) == parts(0)
    assert parts(0)[2] != parts(1)[2]


def test_given_splits_are_kept_and_refused_molecules_counted(monkeypatch):
    frame = pd.DataFrame(
        {
            "smiles": ["CC", "no molecule", "CO", "CN", "CF"],
            "target": [0, 1, 1, 0, 1],
            "split": ["train", "train", "val", "test", "train"],
        }
    )
    monkeypatch.setattr(molecules, "molecules", lambda name: frame)
    read.cache_clear()
    found, refused = read(HIV, 1)
    read.cache_clear()
    assert refused == 1
    for seed in (0, 1):
        split = molecule_split(HIV, found, seed)
        assert [[g.smiles for g in part.graphs] for part in (split.train, split.validation, split.test)] == [
            ["CC", "CF"],
            ["CO"],
            ["CN"],
        ]
    assert split.train.target.tolist() == [0, 1]


def test_made_up_chains_are_molecules_with_a_solubility():
    frame = chains(50)
    assert frame.equals(chains(50))
    assert len(frame) == 50
    assert frame["smiles"].nunique() > 40
    assert frame["target"].std() > 0.5


def test_the_real_molecules(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    solubility, refused = read(ESOL, 1)
    assert (len(solubility.graphs), refused, solubility.part) == (1_128, 0, None)
    barrier, refused = read(SCAFFOLDS, 1)
    assert len(barrier.graphs) + refused == 2_039
    assert set(barrier.part) == {"train", "val", "test"}
    assert set(np.unique(barrier.graphs.target)) == {0, 1}


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"data must be among .*got Tox21"):
        MoleculesSettings(data=("Tox21",))
    with pytest.raises(ValueError, match=r"arms must be among .*got lstm"):
        MoleculesSettings(arms=("lstm",))
    with pytest.raises(ValueError, match=r"budgets must name every data set .*HIV"):
        MoleculesSettings(data=(HIV,), budgets={})
    with pytest.raises(ValueError, match=r"molecules must be at least 1 \(got 0\)"):
        MoleculesSettings(molecules=0)

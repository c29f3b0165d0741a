import importlib.util

import numpy as np
import pytest
import torch
from structformer.tasks.mixed_tables_data import Split, split_table
from structformer.tasks.mixed_tables_scores import outputs, scores
from structformer.tasks.table_peers import ARMS, OURS, PEERS, arm, build

PACKAGES = {"LightGBM": "lightgbm", "XGBoost": "xgboost", "CatBoost": "catboost", "TabM": "tabm"}
# Short trainings for what takes long at its defaults.
SHORT = {
    "TabM": {"epochs": 25, "batch_size": 64, "sizes": {"k": 4, "d_block": 64}},
    **{name: {"epochs": 15, "members": 1} for name in OURS},
}


def made(name, split, seed=0):
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    return build(arm(name, SHORT.get(name)), split.task, seed, 1)


def trained(name, split):
    return made(name, split).fit(split.train, split.train_target)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_learns_an_easy_table(name):
    for data, least in {"made-up classes": 0.8, "made-up numbers": 0.4}.items():
        split = split_table(data, 0, 320)
        model = trained(name, split)
        assert scores(outputs(model, split.test, split.task), split)["score"] > least


@pytest.mark.parametrize("name", ["linear", "random forest", "CatBoost", "TabM", "soes"])
def test_labels_of_test_rows_play_no_part_and_the_seed_decides(name):
    split = split_table("made-up classes", 0, 120)
    turned = Split(split.train, split.train_target, split.test, 1 - split.test_target, split.task)
    first, again = (outputs(trained(name, one), one.test, one.task) for one in (split, turned))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ARMS)
def test_categories_words_and_gaps_that_training_did_not_know(name):
    split = split_table("made-up classes", 0, 120)
    known = split.train["number"].notna()
    model = made(name, split).fit(split.train[known], split.train_target[known.to_numpy()])
    new = split.test.assign(colour="violet", number=np.nan, note="something else")
    found = model.predict_proba(new)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_peers_take_a_table_of_numbers_alone(name):
    split = split_table("made-up numbers", 0, 120)
    model = made(name, split).fit(split.train[["number", "count"]], split.train_target)
    assert np.isfinite(model.predict(split.test[["number", "count"]])).all()


def test_threads_are_those_that_torch_has():
    pytest.importorskip("lightgbm")
    pytest.importorskip("xgboost")
    for name in ("random forest", "LightGBM", "XGBoost"):
        assert (
            build(arm(name), "regression", 0, torch.get_num_threads())[-1].n_jobs == torch.get_num_threads()
        )


def test_arms():
    assert [arm(name).ours for name in ARMS] == [name in OURS for name in ARMS]
    assert arm("soes").options == {"model": "soes"}
    assert arm("soes", {"epochs": 3}).options == {"model": "soes", "epochs": 3}
    with pytest.raises(ValueError, match=r"arms must be among soes, .* \(got TabPFN\)"):
        arm("TabPFN")

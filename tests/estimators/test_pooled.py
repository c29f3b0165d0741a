"""What the estimators with one target a set share: learning, invariance, weights, bad input, saving."""

import json
import pickle
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import structformer as sf
from structformer.models.encoder import Encoded

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}
MODELS = {
    "soes": {"epochs": 12},
    "ressformer": {"model": "ressformer", "epochs": 8, "learning_rate": 0.005},
}


def point_sets(count=40, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return [draw.normal(size=(draw.integers(2, 7), 2)) + label for label in y], y


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return sf.SetClassifier(**{**FAST, **MODELS[request.param]}).fit(*point_sets(80))


def test_sets_are_learned(model):
    assert model.score(*point_sets(60, seed=1)) > 0.85


def test_order_and_company_change_nothing(model):
    sets, _ = point_sets(31, seed=2)
    whole = model.predict_proba(sets)
    draw = np.random.default_rng(3)
    np.testing.assert_allclose(model.predict_proba([draw.permutation(s) for s in sets]), whole, rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(sets[7:8]), whole[7:8], rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(sets[::-1])[::-1], whole, rtol=1e-9)


def test_shuffled_training_data_gives_the_same_model(model):
    sets, y = point_sets(80)
    draw = np.random.default_rng(5)
    order = draw.permutation(80)
    other = clone(model).fit([draw.permutation(sets[i]) for i in order], y[order])
    np.testing.assert_allclose(other.predict_proba(sets), model.predict_proba(sets), rtol=1e-5)


def test_the_learned_graph_stays_inside_sets(model):
    sets, _ = point_sets(5, seed=4)
    steps = model.learned_graph(sets).steps
    assert len(steps) == 2
    place = torch.repeat_interleave(torch.arange(5), torch.tensor([len(s) for s in sets]))
    for graph in steps:
        edges, weight = graph.to_edge_index()
        assert (place[edges[0]] == place[edges[1]]).all()
        sums = torch.zeros(graph.num_targets, dtype=weight.dtype).index_add_(0, edges[1], weight)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_ressformer_learns_a_graph_a_step_and_layer():
    sets, y = point_sets(13)
    settings = {**FAST, "epochs": 1, "steps": 3, "model": "ressformer", "model_options": {"depth": 2}}
    graph = sf.SetClassifier(**settings).fit(sets, y).learned_graph(sets)
    assert len(graph.steps) == 3 * 2
    assert graph.steps[-1] is graph


def test_what_is_saved_predicts_the_same(model, tmp_path):
    sets, y = point_sets(9, seed=6)
    again = sf.load(model.save(tmp_path / "classes"))
    assert type(again.model_.encoder) is type(model.model_.encoder)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict_proba(sets), model.predict_proba(sets))
    assert again.n_features_in_ == 2
    assert again.history_ == model.history_
    same = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(same.predict_proba(sets), model.predict_proba(sets))
    numbers = sf.SetRegressor(**FAST, model=model.model).fit(sets, np.stack([y, 7.0 - y], axis=1))
    read = sf.load(numbers.save(tmp_path / "numbers"))
    np.testing.assert_array_equal(read.predict(sets), numbers.predict(sets))


def test_files_from_before_there_was_a_choice_are_read(tmp_path):
    sets, y = point_sets()
    model = sf.SetClassifier(**FAST).fit(sets, y)
    file = model.save(tmp_path / "model") / "structformer.json"
    said = json.loads(file.read_text())
    del said["state"]["state"]["config"]["model"]
    for name in ("model", "model_options"):
        del said["state"]["parameters"][name]
    file.write_text(json.dumps(said))
    np.testing.assert_array_equal(sf.load(tmp_path / "model").predict_proba(sets), model.predict_proba(sets))


def test_what_was_fitted_is_saved_whatever_is_set_later(tmp_path):
    sets, y = point_sets()
    model = sf.SetClassifier(**FAST, model="ressformer").fit(sets, y).set_params(model="soes")
    again = sf.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(sets), model.predict_proba(sets))


def test_what_the_encoder_adds_is_part_of_the_loss(monkeypatch):
    losses = []
    for _ in range(2):
        model = sf.SetClassifier(**FAST).fit(*point_sets())
        losses.append([epoch.loss for epoch in model.history_.epochs])
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    np.testing.assert_allclose(losses[1], np.add(losses[0], 7), rtol=1e-5)


def test_the_more_pondering_costs_the_less_there_is():
    (sets, y), times = point_sets(18), []
    settings = {**FAST, "epochs": 15, "batch_size": 18, "learning_rate": 0.03, "steps": 3}
    for factor in (0.0, 1.0):
        options = {"halting": "act", "ponder": factor}
        model = sf.SetClassifier(**settings, model="ressformer", model_options=options).fit(sets, y)
        out = model.model_(model.tokenizer_.transform(sets))
        times.append(out.encoded.thought.ponder.mean().item())
    assert times[1] < times[0] - 0.3


def test_the_same_seed_gives_the_same_predictions():
    sets, y = point_sets()
    first, second, other = (
        sf.SetClassifier(**{**FAST, "random_state": seed}).fit(sets, y).predict_proba(sets)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4
    unfitted = clone(sf.SetClassifier(**FAST))
    with pytest.raises(NotFittedError):
        unfitted.predict(sets)


def test_weights_of_sets_count_in_the_loss():
    sets, y = point_sets()
    both = [*sets, *sets]
    labels = np.concatenate([y, 1 - y])
    settings = {**FAST, "epochs": 40, "batch_size": 40, "learning_rate": 0.01, "patience": None}
    for trusted in (0, 1):
        weight = np.repeat([1.0 - trusted, float(trusted)], 40) + 1e-3
        model = sf.SetClassifier(**settings).fit(both, labels, sample_weight=weight)
        assert (model.predict(sets) == (y, 1 - y)[trusted]).mean() > 0.8


def test_weights_of_classes_move_predictions():
    sets, _ = point_sets()
    rare = np.arange(40) % 8 == 1
    plain = sf.SetClassifier(**FAST, class_weight=None).fit(sets, rare).predict_proba(sets)[:, 1].mean()
    even = sf.SetClassifier(**FAST, class_weight="balanced").fit(sets, rare).predict_proba(sets)[:, 1].mean()
    much = (
        sf.SetClassifier(**FAST, class_weight={True: 50.0}).fit(sets, rare).predict_proba(sets)[:, 1].mean()
    )
    assert plain < even < much


def test_a_watched_set_decides_when_to_stop():
    sets, y = point_sets()
    model = sf.SetClassifier(**{**FAST, "epochs": 60}, patience=4, learning_rate=0.02)
    model.fit(sets, y, eval_set=([-s for s in sets], y))
    assert model.history_.stopped == "patience"
    trained_on_all = sf.SetClassifier(**FAST, patience=None).fit(sets, y)
    assert all(epoch.score is None for epoch in trained_on_all.history_.epochs)
    held_out = sf.SetClassifier(**FAST).fit(sets, y)
    assert all(epoch.score is not None for epoch in held_out.history_.epochs)


def test_time_is_limited():
    sets, y = point_sets()
    started = time.monotonic()
    model = sf.SetClassifier(**{**FAST, "epochs": 100_000}, max_time=1.0, patience=None).fit(sets, y)
    assert model.history_.stopped == "max_time"
    assert time.monotonic() - started < 20


def test_steps_are_planned_where_epochs_are_left_open():
    counts = {}
    for count in (8, 640):
        seen = []
        settings = {**FAST, "epochs": None, "batch_size": 8, "patience": None, "width": 8}
        sets, y = point_sets(count)
        model = sf.SetClassifier(
            **settings, callbacks=[lambda epoch, _, seen=seen: seen.append(epoch) or len(seen) > 1]
        )
        model.fit(sets, y)
        counts[count] = model._training_config(-(-count // 8), None).epochs
        assert len(seen) == 2
        assert model.history_.stopped == "callback"
    assert counts == {8: 100, 640: 10}


def test_several_outputs_in_their_own_units():
    sets, _ = point_sets(60)
    y = np.array([[1000 + 50 * s.mean(), 0.01 * len(s)] for s in sets])
    model = sf.SetRegressor(**{**FAST, "epochs": 40}, learning_rate=0.01, batch_size=26).fit(sets, y)
    found = model.predict(sets)
    assert found.shape == (60, 2)
    assert np.corrcoef(found[:, 0], y[:, 0])[0, 1] > 0.8
    assert np.corrcoef(found[:, 1], y[:, 1])[0, 1] > 0.8, "the size of a set is read"
    assert abs(found[:, 0].mean() - 1000) < 50


@pytest.mark.parametrize("estimator", [sf.SetClassifier, sf.SetRegressor])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": []}, "at least 1 set"),
        ({"y": [0, 1]}, "y has 2 entries, but there are 40 sets"),
        ({"y": [*[0, 1] * 19, 0, np.nan]}, "NaN|nan"),
        ({"y": None}, "requires y"),
        ({"sample_weight": [1.0]}, "sample_weight has 1 entries, but there are 40 sets"),
        ({"sample_weight": [-1.0] * 40}, r"must not be negative \(got -1.0 at position 0\)"),
        ({"eval_set": "both"}, r"eval_set must be a pair \(X, y\)"),
        ({"eval_set": ([np.ones((3, 5))], [0])}, "5 features"),
        ({"eval_set": ([np.ones((3, 2))], [0, 1])}, "y of eval_set has 2 entries, but there are 1 sets"),
    ],
)
def test_what_cannot_be_used_is_named(estimator, change, message):
    sets, y = point_sets()
    with pytest.raises(ValueError, match=message):
        estimator(**FAST).fit(**{"X": sets, "y": y, **change})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be at least 1 or None \(got 0\)"),
        ({"validation_fraction": 1.5}, r"validation_fraction must be in \[0, 1\) \(got 1.5\)"),
        ({"neighbors": 0}, "neighbors must be at least 1"),
        ({"heads": 3}, "heads must divide width"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"class_weight": "fair"}, "class_weight must be None"),
        ({"device": "abacus"}, "device must be"),
        ({"model": "nonsense"}, r"""model must be "soes" or "ressformer" \(got 'nonsense'\)"""),
        ({"model_options": {"experts": 3}}, r"model_options of 'soes' may name .* \(got 'experts'\)"),
        ({"model": "ressformer", "model_options": {"steps": 3}}, r"may name .* \(got 'steps'\)"),
        ({"model": "ressformer", "model_options": {"experts": 0}}, "experts must be at least 1"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        sf.SetClassifier(**{**FAST, **change}).fit(*point_sets())


def test_a_class_only_seen_in_evaluation_is_named():
    sets, y = point_sets()
    with pytest.raises(ValueError, match="y of eval_set holds 2, which is not among the training classes"):
        sf.SetClassifier(**FAST).fit(sets, y, eval_set=(sets[:3], [0, 1, 2]))


def test_predictions_name_what_they_cannot_read():
    sets, y = point_sets()
    model = sf.SetClassifier(**FAST).fit(sets, y)
    with pytest.raises(ValueError, match="set 1 has no elements"):
        model.predict([sets[0], np.ones((0, 2))])
    with pytest.raises(ValueError, match="set 0 has 3 features, but 2 are expected"):
        model.learned_graph([np.ones((4, 3))])

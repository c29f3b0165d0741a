import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

import structformer as sf
from structformer.estimators.base import Classes, Scale, exact, run_training, seeded
from structformer.training import TrainingConfig, index_loader, save_checkpoint

ESTIMATORS = [name for name in sf.estimators.__all__ if name != "load"]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes", "no", "maybe"]),
        np.array(["no", "yes", "no", "maybe"], dtype=object),
        np.array([7, -2, 7, 3], dtype=np.int32),
        np.array([True, False, True]),
        np.array([0.5, 2.0, 0.5]),
    ],
)
def test_classes_survive_json(labels):
    classes = Classes.of(labels)
    again = Classes.from_dict(json.loads(json.dumps(classes.to_dict())))
    assert again.values.dtype == labels.dtype
    assert (again.values == np.unique(labels)).all()
    assert (again.values[again.encode(labels)] == labels).all()


def test_one_class_is_none():
    with pytest.raises(ValueError, match=r"at least two classes \(got one class: 'a'\)"):
        Classes.of(np.array(["a", "a"], dtype=object))


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match=r"labels holds 'x', which is not among the training classes"):
        Classes.of(np.array(["a", "b"])).encode(np.array(["a", "x"]), "labels")


def test_a_scale_standardises_and_back():
    y = np.random.default_rng(0).normal([3.0, -40.0], [2.0, 0.1], size=(53, 2))
    scale = Scale.of(y)
    standard = scale.forward(y)
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(scale.backward(standard), y, rtol=1e-12)


def test_weights_of_a_scale_count_like_repeated_rows():
    y = np.random.default_rng(1).normal(size=(11, 1))
    weight = np.arange(11.0)
    weighted, repeated = Scale.of(y, weight), Scale.of(np.repeat(y, np.arange(11), axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.spread, repeated.spread, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-15, 1.0, 1e200, 1e300])
def test_the_unit_of_a_target_does_not_matter(size):
    y = np.array([[1.0], [2.0], [4.0]])
    np.testing.assert_allclose(Scale.of(y * size).forward(y * size), Scale.of(y).forward(y), rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e300])
def test_a_constant_target_comes_back_whatever_is_said(value):
    y = np.full((7, 1), value)
    scale = Scale.of(y)
    assert (scale.forward(y) == 0).all()
    assert (scale.backward(np.arange(7.0)[:, None]) == y).all()


@given(seed=st.integers(0, 2**31))
def test_the_scale_does_not_depend_on_the_order_of_rows(seed):
    draw = np.random.default_rng(seed)
    y, weight, perm = draw.lognormal(sigma=5, size=(37, 2)), draw.random(37), draw.permutation(37)
    assert Scale.of(y, weight) == Scale.of(y[perm], weight[perm])


def test_seeded_weights_leave_the_global_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (seeded(seed, lambda: nn.Linear(3, 2)) for seed in (1, 2))
    assert torch.rand(3).equal(expected)
    assert one.weight.equal(seeded(1, lambda: nn.Linear(3, 2)).weight)
    assert not one.weight.equal(two.weight)


def test_dropout_is_drawn_from_the_seed():
    def trained(seed):
        torch.rand(seed)  # where the global stream stands must not matter
        model = seeded(0, lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)))
        data = torch.arange(28.0).view(7, 4) / 28
        loader = index_loader(7, 3, 0, lambda index: data[index])
        run_training(model, loader, lambda m, x: m(x).square().mean(), TrainingConfig(epochs=3), seed)
        return model[1].weight

    assert trained(3).equal(trained(3))
    assert not trained(3).equal(trained(4))


def test_the_exact_copy_is_a_copy():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    copy = exact(model)
    assert copy[0].weight.dtype == torch.float64
    assert not copy.training
    assert model[0].weight.dtype == torch.float32
    assert model.training


def test_parameters_survive_json():
    given = {
        "width": np.int64(32),
        "class_weight": {1: 2.0, 0: np.float32(0.5), "a": 1},
        "random_state": np.random.RandomState(0),
        "callbacks": [print],
        "infinite": "clip",
        "verbose": False,
    }
    model = sf.StructFormerClassifier(**given)
    said = json.loads(json.dumps(model._plain_parameters()))
    again = sf.StructFormerClassifier._parameters_from(said).get_params()
    expected = {**given, "random_state": None, "callbacks": None}
    assert {name: again[name] for name in given} == expected
    assert set(again) == set(model.get_params())


@pytest.mark.parametrize("estimator", [getattr(sf, name) for name in ESTIMATORS])
def test_the_model_is_a_parameter_like_others(estimator):
    if estimator is sf.QuestionAnswerer:
        assert "model" not in estimator().get_params(), "it has one kind of model"
        return
    plain = estimator()
    assert (plain.model, plain.model_options) == ("soes", None)
    options = {"experts": 3, "top": None}
    found = clone(estimator(model="ressformer", model_options=options)).get_params()
    assert (found["model"], found["model_options"]) == ("ressformer", options)
    assert plain.set_params(model="ressformer").model == "ressformer"
    said = json.loads(json.dumps(estimator(model="ressformer", model_options=options)._plain_parameters()))
    assert estimator._parameters_from(said).model_options == options


def test_an_unfitted_estimator_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError):
        sf.StructFormerClassifier().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_nothing_to_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a structformer model"):
        sf.load(tmp_path)


def test_a_model_of_an_unknown_kind(tmp_path):
    save_checkpoint(tmp_path / "model", {"class": "Oracle"}, {})
    with pytest.raises(ValueError, match="holds a 'Oracle'; this version knows"):
        sf.load(tmp_path / "model")

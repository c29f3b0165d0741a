import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from structformer.estimators.base import Classes
from structformer.estimators.targets import class_labels, class_weights, importance, numbers


@pytest.mark.parametrize(
    "y",
    [
        ["a", "b", "a"],
        np.array(["a", "b", "a"]),
        pd.Series(["a", "b", "a"], index=[7, 3, 5]),
        np.array([["a"], ["b"], ["a"]]),
        np.array(["a", "b", "a"], dtype=object),
    ],
)
def test_labels_in_every_form(y):
    assert class_labels(y, 3, "set").tolist() == ["a", "b", "a"]


def test_labels_of_a_tensor():
    assert class_labels(torch.tensor([2, 0, 2]), 3, "set").tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "^fit requires y to be passed"),
        (["a", "b"], "y has 2 entries, but there are 3 sets"),
        (["a", None, "b"], r"missing label \(NaN\) at position 1"),
        ([0.0, 1.0, np.nan], r"missing label \(NaN\) at position 2"),
        ([0.0, np.inf, 1.0], "infinite label at position 1"),
        ([0.5, 1.5, 2.5], "continuous"),
        (np.zeros((3, 2)), r"one label a set \(got shape \[3, 2\]\)"),
        ("abc", "must hold one target a set"),
    ],
)
def test_bad_labels_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        class_labels(y, 3, "set")


def test_numbers_of_one_and_of_several_outputs():
    assert numbers([1, 2, 3], 3, "graph").dtype == np.float64
    assert numbers(torch.ones(3, 1), 3, "graph").shape == (3,)
    assert numbers(np.ones((3, 2)), 3, "graph").shape == (3, 2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1.0, np.nan, 2.0], "y must be finite .*nan.* at position 1"),
        ([1.0, 2.0, -np.inf], "y must be finite .*-inf.* at position 2"),
        (["a", "b", "c"], "y must hold numbers"),
        (np.ones((3, 2, 2)), r"\[graphs\] or \[graphs, outputs\]"),
        ([1.0, 2.0], "y has 2 entries, but there are 3 graphs"),
        (None, "^fit requires y to be passed"),
    ],
)
def test_bad_numbers_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        numbers(y, 3, "graph")


def test_weights_have_a_mean_of_one():
    weight = importance([1, 2, 3], 3, "set")
    assert weight.tolist() == [0.5, 1.0, 1.5]
    assert importance(None, 3, "set") is None


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -2, 3], r"must not be negative \(got -2.0 at position 1\)"),
        ([0, 0, 0], "zero everywhere"),
        ([1, 2], "sample_weight has 2 entries, but there are 3 sets"),
        (np.ones((3, 2)), "one number a set"),
        ([1, 2, np.nan], "sample_weight must be finite"),
    ],
)
def test_bad_weights_are_named(weight, message):
    with pytest.raises(ValueError, match=message):
        importance(weight, 3, "set")


def test_weights_of_classes():
    y = np.array(["a"] * 5 + ["b"] * 2 + ["c"])
    classes = Classes.of(y)
    target = torch.from_numpy(classes.encode(y))
    assert class_weights(None, classes, target) is None
    expected = compute_class_weight("balanced", classes=classes.values, y=y)
    np.testing.assert_allclose(class_weights("balanced", classes, target), expected, rtol=1e-6)
    assert class_weights({"b": 3.0}, classes, target).tolist() == [1.0, 3.0, 1.0]
    with pytest.raises(ValueError, match="'x', which is not among the classes"):
        class_weights({"x": 3.0}, classes, target)
    with pytest.raises(ValueError, match=r'"balanced" or a dict \(got \'even\'\)'):
        class_weights("even", classes, target)

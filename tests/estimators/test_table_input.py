"""Tables and targets that are wrong, or only odd."""

import numpy as np
import pandas as pd
import pytest

import structformer as sf

FAST = {"width": 16, "heads": 2, "members": 1, "epochs": 2, "learning_rate": 0.01, "random_state": 0}
ROWS = 24


def table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": draw.normal(size=ROWS), "b": draw.integers(0, 9, ROWS), "c": draw.choice(["x", "y"], ROWS)}
    )


Y = np.arange(ROWS) % 2


@pytest.fixture(scope="module")
def fitted() -> sf.StructFormerClassifier:
    return sf.StructFormerClassifier(**FAST).fit(table(), Y)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table().iloc[:0], "table must have at least one row"),
        (table()[[]], r"0 feature\(s\)"),
        (np.zeros((0, 3)), "table must have at least one row"),
        (table().set_axis(["a", "b", "a"], axis=1), r"column names must be distinct .*'a'"),
        (table().assign(b=[[1, 2]] * ROWS), "column 'b': .*got a list in row 0"),
        (table().assign(a=[1.0, np.inf] * (ROWS // 2)), "column 'a' must be finite .*row 1; 12 infinite"),
        (np.zeros((ROWS, 2, 2)), "Expected 2D array, got 3D array"),
        (np.zeros(ROWS), "Reshape your data"),
    ],
)
@pytest.mark.parametrize("kind", [sf.StructFormerClassifier, sf.StructFormerRegressor, sf.TableEncoder])
def test_tables_that_cannot_be_used(kind, frame, said):
    with pytest.raises(ValueError, match=said):
        kind(**FAST).fit(frame, Y[: len(frame)])


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.ones(ROWS), r"at least two classes \(got one class: 1.0\)"),
        (np.where(Y, 1.0, np.nan), r"y has a missing label \(NaN\) at position 0"),
        (np.where(Y, 1.0, np.inf), "y has an infinite label at position 0"),
        (np.where(Y, "a", None), "y has a missing label .*position 0"),
        (Y[:-1], "y has 23 entries, but there are 24 rows"),
        (None, "requires y to be passed, but the target y is None"),
        (np.linspace(0, 1, ROWS), "Unknown label type: continuous"),
        (np.zeros((ROWS, 2)), r"y must hold one label a row \(got shape \[24, 2\]\)"),
    ],
)
def test_classes_that_cannot_be_used(y, said):
    with pytest.raises(ValueError, match=said):
        sf.StructFormerClassifier(**FAST).fit(table(), y)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.where(Y, 1.0, np.nan), r"y must be finite \(got nan at position 0\)"),
        (np.where(Y, 1.0, -np.inf), r"y must be finite \(got -inf at position 0\)"),
        (np.where(Y, "1", "a"), "y must hold numbers"),
        (Y * 1j, "Complex data not supported"),
        (None, "requires y to be passed"),
        (np.zeros((ROWS, 2, 2)), r"y must be \[rows\] or \[rows, outputs\]"),
    ],
)
def test_numbers_that_cannot_be_used(y, said):
    with pytest.raises(ValueError, match=said):
        sf.StructFormerRegressor(**FAST).fit(table(), y)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (-Y.astype(float), "sample_weight must not be negative .*position 1"),
        (np.zeros(ROWS), "sample_weight is zero everywhere"),
        (np.ones(3), "sample_weight has 3 entries, but there are 24 rows"),
        (np.full(ROWS, np.nan), "sample_weight must be finite"),
    ],
)
def test_weights_that_cannot_be_used(weight, said):
    with pytest.raises(ValueError, match=said):
        sf.TableEncoder(**FAST).fit(table(), sample_weight=weight)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"validation_fraction": 1.5}, r"validation_fraction must be in \[0, 1\) \(got 1.5\)"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"width": 10, "heads": 4}, r"heads must divide width \(got heads=4, width=10\)"),
        ({"row_neighbors": 0}, "neighbors must be at least 1"),
        ({"infinite": "ignore"}, "infinite must be one of"),
        ({"device": "abacus"}, "device must be"),
    ],
)
def test_parameters_are_checked_at_fit(parameters, said):
    model = sf.StructFormerClassifier(**FAST | parameters)
    with pytest.raises(ValueError, match=said):
        model.fit(table(), Y)


ODD = {
    "a constant column": table().assign(d=7),
    "only constant columns": table()[["a"]].assign(a=1.0),
    "a column without a value": table().assign(d=np.nan),
    "only missing cells": table()[["a"]].assign(a=np.nan),
    "rows without a value": table().mask(table()["b"] > 6),
    "a repeated index": table().set_axis(np.repeat(["p", "q"], ROWS // 2)),
    "numbers and strings mixed": table().assign(b=[1, "two", 3.5, None] * (ROWS // 4)),
    "names that are numbers": table().set_axis([3, 1, 2], axis=1),
    "an array": table()[["a", "b"]].to_numpy(),
    "rows in lists": table()[["a", "b"]].to_numpy().tolist(),
    "huge and tiny numbers": table().assign(a=np.logspace(-300, 300, ROWS)),
    "one column": table()[["c"]],
    "texts alone": pd.DataFrame({"text": [f"a text that is long enough, number {i}" for i in range(ROWS)]}),
    "one row of each class": table().iloc[:2],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", [sf.StructFormerClassifier, sf.StructFormerRegressor, sf.TableEncoder])
def test_odd_tables_can_be_used(kind, name):
    frame = ODD[name]
    model = kind(**FAST).fit(frame, Y[: len(frame)])
    found = model.transform(frame) if kind is sf.TableEncoder else model.predict(frame)
    assert len(found) == len(frame)
    assert np.isfinite(found).all()
    assert model.learned_graph(frame).num_targets == len(frame)
    assert str(model.learned_graph(frame).summary())


def test_what_is_left_out_is_said():
    model = sf.StructFormerClassifier(**FAST).fit(table().assign(same=1, none=np.nan), Y)
    assert model.tokenizer_.dropped_ == {"same": "one value only", "none": "no value"}
    assert model.n_features_in_ == 5
    # What was left out need not be there.
    assert len(model.predict(table())) == ROWS


def test_a_constant_target_is_foretold():
    model = sf.StructFormerRegressor(**FAST).fit(table(), np.full(ROWS, 41.5))
    assert (model.predict(table()) == 41.5).all()


def test_missing_columns_are_listed(fitted):
    with pytest.raises(ValueError, match=r"missing: \['a', 'c'\]"):
        fitted.predict(table()[["b"]])


def test_extra_columns_are_ignored_with_a_warning(fitted):
    expected = fitted.predict_proba(table())
    with pytest.warns(UserWarning, match=r"ignored: \['extra', 'other'\]"):
        found = fitted.predict_proba(table().assign(other=1, extra="z"))
    np.testing.assert_array_equal(found, expected)


def test_columns_are_matched_by_name(fitted):
    np.testing.assert_array_equal(
        fitted.predict_proba(table()[["c", "a", "b"]]), fitted.predict_proba(table())
    )


def test_infinite_values_are_refused_or_clipped(fitted):
    new = table().assign(a=np.where(np.arange(ROWS) == 5, np.inf, 0.5))
    with pytest.raises(ValueError, match=r"column 'a' must be finite .*row 5"):
        fitted.predict(new)
    model = sf.StructFormerClassifier(infinite="clip", **FAST).fit(table(), Y)
    largest = table()["a"].max()
    np.testing.assert_array_equal(
        model.predict_proba(new), model.predict_proba(new.replace({"a": {np.inf: largest}}))
    )


def test_a_number_that_became_a_word_is_named(fitted):
    new = table().astype({"b": object})
    new.loc[3, "b"] = "many"
    with pytest.raises(ValueError, match=r"column 'b' must hold a number .*'many' in row 3"):
        fitted.predict(new)


def test_arrays_have_as_many_columns(fitted):
    model = sf.TableEncoder(**FAST).fit(table()[["a", "b"]].to_numpy())
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 2 features"):
        model.transform(np.zeros((2, 3)))

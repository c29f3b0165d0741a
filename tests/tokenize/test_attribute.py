import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize.attribute import FEW, Attribute, fit_attribute
from structformer.tokenize.attribute_values import HASHED_WIDTH, Items


def items(count: int) -> Items:
    return Items("node", count, repr)


def fitted(values) -> Attribute:
    return fit_attribute("a", values, items(len(values)))


def test_numbers_say_what_is_missing():
    attribute = fitted([1.0, None, 3.0])
    assert attribute.feature_names == ["a", "a is missing"]
    written = attribute.encode([None, 2.0, 3.0], items(3))
    assert written.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert written.dtype == np.float32


def test_vectors_are_one_feature_a_number_and_all_equally_long():
    attribute = fitted([[1, 2], None, (3, 4)])
    assert attribute.feature_names == ["a.0", "a.1", "a is missing"]
    with pytest.raises(ValueError, match="node attribute 'a' of node 1 has 3 numbers, but 2 are expected"):
        attribute.encode([[1, 2], [1, 2, 3]], items(2))


@pytest.mark.parametrize("value", [{"k": 1}, {1, 2}, frozenset()])
def test_what_is_no_value_is_named(value):
    with pytest.raises(ValueError, match=r"attribute 'a' of node 1 is a .*: no number, string or vector"):
        fitted(["x", value])


def test_strings_are_categories_while_they_are_few():
    few = fitted([f"{i % FEW:02}" for i in range(2 * FEW)])
    assert few.kind == "category"
    assert few.width == FEW + 2
    assert few.encode(["new", None, "03"], items(3)).argmax(1).tolist() == [FEW, FEW + 1, 3]
    many = fitted([str(i) for i in range(FEW + 1)])
    assert (many.kind, many.width) == ("text", HASHED_WIDTH + 1)
    assert many.encode(["", None, "7"], items(3))[:, -1].tolist() == [0, 1, 0]


def test_an_array_of_integers_holds_codes_unless_they_are_zero_and_one():
    codes = fitted(np.array([[3, 0], [5, 1], [3, 2]]))
    assert codes.feature_names == [
        "a.0=3",
        "a.0=5",
        "a.0 is unseen",
        "a.1=0",
        "a.1=1",
        "a.1=2",
        "a.1 is unseen",
    ]
    assert codes.encode(np.array([[4, 2]]), items(1)).tolist() == [[0, 0, 1, 0, 0, 1, 0]]
    assert fitted(np.array([[0, 1], [1, 1]])).kind == "matrix"
    assert fitted(np.arange(99)[:, None]).kind == "matrix", "too many values to be codes"


def test_a_bag_of_words_stays_as_it_is_and_other_arrays_are_scaled():
    assert fitted(np.array([[0.0, 2.0], [0.0, 0.0]])).scaler is None
    assert fitted(np.array([[-1.0, 2.0], [0.0, 0.0]])).scaler is not None
    with pytest.raises(ValueError, match="attribute 'a' of node 1 is nan in column 0"):
        fitted(np.array([[0.0], [np.nan]]))
    attribute = fitted(np.array([[0.5], [1.5]]))
    with pytest.raises(ValueError, match="was an array in training"):
        attribute.encode([1.0, 2.0], items(2))
    with pytest.raises(ValueError, match="has 2 columns, but 1 in training"):
        attribute.encode(np.zeros((2, 2)), items(2))


@given(
    st.lists(st.one_of(st.none(), st.integers(-9, 9), st.sampled_from("xyz")), max_size=12),
    st.randoms(use_true_random=False),
)
def test_values_are_written_alike_in_any_order_and_after_a_round_trip(values, random):
    order = random.sample(range(len(values)), len(values))
    attribute = fitted(values)
    again = fitted([values[i] for i in order])
    assert again.feature_names == attribute.feature_names
    written = attribute.encode(values, items(len(values)))
    moved = again.encode([values[i] for i in order], items(len(values)))
    np.testing.assert_allclose(moved, written[order], atol=1e-6)
    kept = Attribute.from_dict(json.loads(json.dumps(attribute.to_dict())))
    assert kept == attribute

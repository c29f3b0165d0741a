import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize.attribute_values import (
    HASHED_WIDTH,
    Items,
    Place,
    as_number,
    check_finite,
    hashed,
    is_missing,
    label,
    numbers,
)

NODES = Items("node", 3, lambda index: repr("abc"[index]))
WHERE = Place("size", NODES)


@pytest.mark.parametrize(
    "value", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("NaN")]
)
def test_every_way_to_say_not_known_is_missing(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, "", False, [], np.zeros(3), float("inf"), np.timedelta64(0, "s")])
def test_nothing_else_is_missing(value):
    assert not is_missing(value)


def test_times_are_days_and_seconds_and_truth_is_one():
    assert as_number(datetime.date(1970, 1, 11)) == 10
    noon = datetime.datetime(1970, 1, 2, 12, tzinfo=datetime.UTC)
    assert as_number(noon) == as_number(np.datetime64("1970-01-02T12")) == 1.5
    east = datetime.timezone(datetime.timedelta(hours=12))
    assert as_number(noon.astimezone(east)) == 1.5
    assert as_number(np.timedelta64(2, "m")) == as_number(datetime.timedelta(minutes=2)) == 120
    assert as_number(True) == as_number(np.True_) == 1
    assert as_number("1") is as_number([1]) is None


def test_numbers_may_be_spelt_and_vectors_must_be_equally_long():
    assert numbers(["1.5", 2], [0, 2], WHERE, 1).tolist() == [[1.5], [2]]
    assert numbers([[1, 2], torch.tensor([3.0, 4.0])], [0, 1], WHERE, 2).tolist() == [[1, 2], [3, 4]]
    assert numbers([], [], WHERE, 2).shape == (0, 2)
    with pytest.raises(
        ValueError, match="node attribute 'size' of node 'c' has 3 numbers, but 2 are expected"
    ):
        numbers([[1, 2], [1, 2, 3]], [0, 2], WHERE, 2)
    with pytest.raises(ValueError, match="of node 'b' is 'tall', where numbers are expected"):
        numbers(["tall"], [1], WHERE, 1)
    with pytest.raises(ValueError, match="of node 'b' is inf; only finite numbers"):
        numbers([1, float("inf")], [0, 1], WHERE, 1)


def test_an_array_that_is_not_finite_names_its_entry_among_those_that_are_meant():
    some = Place("size", NODES.at(np.array([2, 0])))
    with pytest.raises(ValueError, match="of node 'a' is -inf in column 1; only finite values"):
        check_finite(np.array([[0.0, 1.0], [2.0, -np.inf]]), some)
    check_finite(np.array([[1, 2]]), some)
    assert NODES.at(None) is NODES


def test_whole_numbers_are_one_category_with_and_without_a_point():
    assert label(1.0) == label(1) == "1"
    assert label(1.5) == "1.5"
    assert label(True) == "True"
    assert label(float("inf")) == "inf"


@given(st.lists(st.text(max_size=9), min_size=1, max_size=5))
def test_hashed_texts_have_length_one_and_follow_their_order(texts: list[str]):
    found = hashed(texts)
    assert found.shape == (len(texts), HASHED_WIDTH)
    assert np.array_equal(hashed(texts[::-1]), found[::-1])
    length = np.linalg.norm(found, axis=1)
    # Grams may cancel each other; a blank text has none.
    assert (np.isclose(length, 1, atol=1e-5) | (length == 0)).all()

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.tokenize.attribute_values import Items
from structformer.tokenize.attributes import AttributeEncoder, Column, join_columns


def items(count):
    return Items("node", count, lambda index: repr("abcdefghijk"[index % 11]))


def encode(values, new=None):
    """Fits on one attribute `v` and writes new values (or the same)."""
    encoder = AttributeEncoder.fit({"v": Column(values)}, items(len(values)))
    state = json.loads(json.dumps(encoder.to_dict()))
    encoder = AttributeEncoder.from_dict(state)
    new = values if new is None else new
    return encoder.transform({"v": Column(new)}, items(len(new))), encoder.feature_names


def test_numbers_with_gaps():
    for gap in (None, np.nan, pd.NA, pd.NaT, Decimal("nan")):
        out, names = encode([1, 3.0, gap, np.float32(5)])
        assert names == ["v", "v is missing"]
        scale = np.std([1, 3, 5])
        np.testing.assert_allclose(out, [[-2 / scale, 0], [0, 0], [0, 1], [2 / scale, 0]], rtol=1e-6)


def test_booleans_stay_zero_and_one():
    out, _ = encode([True, False, None, True])
    assert out.tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


def test_dates_and_durations_are_numbers():
    day = datetime.date(1970, 1, 3)
    out, _ = encode([day, datetime.datetime(1970, 1, 5), np.datetime64("1970-01-07"), np.datetime64("NaT")])
    np.testing.assert_allclose(out[:, 0], np.array([-2, 0, 2, 0]) / np.std([2, 4, 6]), rtol=1e-6)
    assert out[3, 1] == 1
    out, _ = encode([datetime.timedelta(seconds=3), np.timedelta64(5, "s"), pd.Timedelta(seconds=7)])
    np.testing.assert_allclose(out[:, 0], np.array([-2, 0, 2]) / np.std([3, 5, 7]), rtol=1e-6)


def test_vectors_are_spread_over_columns():
    out, names = encode([[1, 2], (3, 4), np.array([5.0, 9.0]), torch.tensor([3, 5]), None])
    assert names == ["v.0", "v.1", "v is missing"]
    rows = np.array([[1, 2], [3, 4], [5, 9], [3, 5]])
    np.testing.assert_allclose(out[:4, :2], (rows - rows.mean(0)) / rows.std(0), rtol=1e-6)
    assert out[4].tolist() == [0, 0, 1]


def test_categories_unseen_and_missing_have_columns_of_their_own():
    out, names = encode(["b", "a", None, "a"], ["a", "new", "b", None])
    assert names == ["v=a", "v=b", "v is unseen", "v is missing"]
    assert out.argmax(1).tolist() == [0, 2, 1, 3]
    assert (out.sum(1) == 1).all()


def test_values_of_mixed_type_are_categories():
    out, names = encode([1, "x", 2.0, 1.0])
    assert names[:3] == ["v=1", "v=2", "v=x"]
    assert out[0].tolist() == out[3].tolist()


def test_many_strings_are_hashed():
    texts = [f"person number {i * i}" for i in range(50)]
    out, _ = encode(texts, [texts[3], "never seen before", texts[3], None, ""])
    assert out.shape == (5, 129)
    np.testing.assert_allclose(np.linalg.norm(out[:3], axis=1), 1, rtol=1e-6)
    assert (out[0] == out[2]).all()
    assert (out[0] != out[1]).any()
    assert out[3].tolist() == [0] * 128 + [1]
    assert out[4].tolist() == [0] * 129


def test_all_missing_is_a_number_without_values():
    out, _ = encode([None, np.nan])
    assert out.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.inf], "node attribute 'v' of node 'b' is inf"),
        ([[1, 2], [1, 2, 3]], "node attribute 'v' of node 'b' has 3 numbers, but 2"),
        ([[1, 2], [1, np.nan]], "node attribute 'v' of node 'b' is .*only finite"),
        ([["x"], ["y"]], "node attribute 'v' of node 'a' is .*where numbers are expected"),
        ([1, {"r": 3}], "node attribute 'v' of node 'b' is a dict"),
        (np.array([[0.0, 1], [np.nan, 2]]), "node attribute 'v' of node 'b' is nan in column 0"),
    ],
)
def test_errors_name_attribute_and_item(values, message):
    with pytest.raises(ValueError, match=message):
        encode(values)


def test_type_changed_after_training():
    out, _ = encode([1.0, 3.0], ["3", "1.0"])
    np.testing.assert_allclose(out[:, 0], [1, -1])
    with pytest.raises(ValueError, match="of node 'b' is 'red', where numbers are expected"):
        encode([1.0, 3.0], [1, "red"])
    with pytest.raises(ValueError, match="was an array in training"):
        encode(np.ones((2, 3)), [1, 2])
    with pytest.raises(ValueError, match="has 2 columns, but 3 in training"):
        encode(np.ones((2, 3)), np.ones((2, 2)))


def test_bag_of_words_is_kept_without_a_copy():
    words = (np.random.default_rng(0).random((19, 101)) < 0.03).astype(np.float32)
    out, names = encode(words)
    assert np.shares_memory(out, words)
    assert len(names) == 101
    weights = words / 7
    assert np.shares_memory(encode(weights)[0], weights)


def test_dense_matrices_are_standardised_except_binary_columns():
    values = np.array([[1.0, 1, 4], [3, 0, 4], [5, 1, 4]])
    out, _ = encode(values)
    np.testing.assert_allclose(out[:, 0], np.array([-2, 0, 2]) / np.std([1, 3, 5]), rtol=1e-6)
    assert out[:, 1:].tolist() == [[1, 0], [0, 0], [1, 0]]


def test_integer_matrices_of_few_values_are_codes():
    out, names = encode(np.array([[6, 0], [8, 0], [6, 1]]), np.array([[8, 1], [7, 0]]))
    assert names == ["v.0=6", "v.0=8", "v.0 is unseen", "v.1=0", "v.1=1", "v.1 is unseen"]
    assert out.tolist() == [[0, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0]]
    assert encode(np.arange(100)[:, None])[0].shape == (100, 1)
    counts = np.random.default_rng(0).integers(0, 5, size=(7, 17))
    assert encode(counts)[0].shape == (7, 17)


def test_columns_matched_by_name():
    columns = {"b": Column([1, 2, 3]), "a": Column(["x", "y", "x"])}
    encoder = AttributeEncoder.fit(columns, items(3))
    expected = encoder.transform(columns, items(3))
    assert encoder.feature_names[0] == "a=x"
    assert encoder.width == expected.shape[1] == 6
    with pytest.warns(UserWarning, match=r"not seen in training are ignored: \['c'\]"):
        assert (encoder.transform({"c": Column([0, 0, 0]), **columns}, items(3)) == expected).all()
    with pytest.raises(ValueError, match=r"the node attributes \['a'\] of the training graphs are missing"):
        encoder.transform({"b": Column([1, 2, 3])}, items(3))


def test_joining_graphs():
    joined = join_columns([{"v": Column([1])}, {}, {"v": Column([2, 3])}], [1, 2, 2], "node")
    assert joined["v"].values == [1, None, None, 2, 3]
    x, y = np.ones((2, 3)), np.zeros((1, 3))
    assert join_columns([{"x": Column(x)}, {"x": Column(y)}], [2, 1], "node")["x"].values.shape == (3, 3)
    with pytest.raises(ValueError, match="graph 1 has no node attribute 'x'"):
        join_columns([{"x": Column(x)}, {}], [2, 5], "node")
    with pytest.raises(ValueError, match="graph 1: node attribute 'x' has 4 columns, but 3"):
        join_columns([{"x": Column(x)}, {"x": Column(np.ones((2, 4)))}], [2, 2], "node")


def test_columns_of_some_rows_only():
    column = Column(np.array([[2.0], [4.0]]), rows=np.array([3, 1]))
    encoder = AttributeEncoder.fit({"x": column}, items(5))
    assert encoder.transform({"x": column}, items(5))[:, 0].tolist() == [0, 1, 0, -1, 0]
    bad = Column(np.array([[2.0], [np.inf]]), rows=np.array([3, 1]))
    with pytest.raises(ValueError, match="of node 'b' is inf"):
        encoder.transform({"x": bad}, items(5))

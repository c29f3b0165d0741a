import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from structformer.tokenize import SetTokenizer


@pytest.fixture
def sets():
    generator = np.random.default_rng(0)
    return [generator.normal(5, 3, size=(size, 3)) for size in (2, 7, 5)]


def test_packs_and_standardises(sets):
    tokenizer = SetTokenizer()
    tokens = tokenizer.fit_transform(sets)
    rows = np.concatenate(sets)
    expected = (rows - rows.mean(0)) / rows.std(0)
    assert tokens.ptr.tolist() == [0, 2, 9, 14]
    assert tokens.x.dtype == torch.float32
    np.testing.assert_allclose(tokens.x.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tokenizer.mean_, rows.mean(0))
    np.testing.assert_allclose(tokenizer.scale_, rows.std(0))


def test_kinds_of_sets_agree(sets):
    expected = SetTokenizer().fit_transform(sets).x
    tensors = [torch.tensor(rows, requires_grad=True) for rows in sets]
    frames = [pd.DataFrame(rows, columns=list("abc")) for rows in sets]
    for other in (tensors, frames, [rows.tolist() for rows in sets], tuple(sets), iter(sets)):
        torch.testing.assert_close(SetTokenizer().fit_transform(other).x, expected)
    block = np.stack([sets[2], sets[2]])
    assert SetTokenizer().fit_transform(block).ptr.tolist() == [0, 5, 10]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_set_is_the_same_in_any_batch_and_order(seed):
    generator = np.random.default_rng(seed)
    sets = [generator.normal(size=(size, 2)) for size in (3, 5, 2)]
    tokenizer = SetTokenizer().fit(sets)
    order = generator.permutation(5)
    alone = tokenizer.transform([sets[1][order]]).x
    assert torch.equal(alone, tokenizer.transform(sets).x[3:8][torch.from_numpy(order)])


def test_constant_binary_and_wild_columns():
    rows = np.array([[7.0, 0, 1], [7.0, 1, 2], [7.0, 1, 3]])
    tokenizer = SetTokenizer().fit([rows])
    assert torch.equal(tokenizer.transform([rows]).x[:, :2], torch.tensor([[0.0, 0], [0, 1], [0, 1]]))
    wild = tokenizer.transform([[[7.0, 0, 1e300], [7.0, 0, -1e300], [7.0, 0, 1e200]]]).x[:, 2]
    assert torch.isfinite(wild).all()
    assert wild[0] > wild[2] > 100
    assert wild[1] == -wild[0]


def test_offsets_much_larger_than_the_spread():
    rows = 1.7e9 + np.arange(5.0)[:, None]
    x = SetTokenizer().fit_transform([rows]).x[:, 0]
    np.testing.assert_allclose(x, (np.arange(5) - 2) / np.sqrt(2), rtol=1e-6, atol=1e-6)


def test_frames_are_matched_by_name():
    frame = pd.DataFrame({"a": [1.0, 2, 4], "b": [5.0, 3, 0]}, index=["u", "v", "w"])
    tokenizer = SetTokenizer().fit([frame])
    expected = tokenizer.transform([frame])
    assert expected.names == ["u", "v", "w"]
    assert torch.equal(tokenizer.transform([frame[["b", "a"]]]).x, expected.x)
    with pytest.warns(UserWarning, match=r"set 0: columns not seen in training are ignored: \['c'\]"):
        assert torch.equal(tokenizer.transform([frame.assign(c=1)]).x, expected.x)
    with pytest.raises(ValueError, match=r"set 1 lacks the columns \['b'\]"):
        tokenizer.transform([frame, frame[["a"]]])
    twice = pd.DataFrame([[1.0, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"several columns named \['a'\]"):
        SetTokenizer().fit([twice])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "sets is empty"),
        ([np.ones((2, 3)), np.ones((0, 3))], "set 1 has no elements"),
        ([np.ones((2, 0))], "set 0 has no features"),
        ([np.ones((2, 3)), np.ones((2, 4))], "set 1 has 4 features, but 3"),
        ([np.ones(3)], r"set 0 has shape \[3\]"),
        ([np.ones((2, 3)), [[1, 2, 3], [4, np.inf, 6]]], "set 1 has inf at row 1, column 1"),
        ([[[1.0, np.nan]]], "set 0 has nan at row 0, column 1"),
        ([[["a", "b"]]], "set 0 is not a numeric array"),
        ([[[1, 2], [3]]], "set 0 is not a numeric array"),
        ([pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})], "set 0 is not a numeric array"),
    ],
)
def test_errors_name_the_culprit(bad, message):
    with pytest.raises(ValueError, match=message):
        SetTokenizer().fit(bad)


def test_width_is_that_of_training(sets):
    tokenizer = SetTokenizer().fit(sets)
    with pytest.raises(ValueError, match="set 0 has 2 features, but 3 are expected"):
        tokenizer.transform([np.ones((4, 2))])
    assert tokenizer.fit([np.ones((4, 2))]).num_features_ == 2
    with pytest.raises(NotFittedError):
        SetTokenizer().transform(sets)


@pytest.mark.parametrize("names", [None, ["p", "q", "r"]])
def test_state_is_json(sets, names):
    sets = sets if names is None else [pd.DataFrame(rows, columns=names) for rows in sets]
    tokenizer = SetTokenizer().fit(sets)
    again = SetTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert torch.equal(again.transform(sets).x, tokenizer.transform(sets).x)
    assert again.to_dict() == tokenizer.to_dict()

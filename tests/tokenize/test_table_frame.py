import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from structformer.tokenize.table_frame import array_names, as_frame
from structformer.tokenize.tables import TableTokenizer


def test_names_become_strings_and_cells_are_not_copied():
    frame = pd.DataFrame({"b": [1.0, 2.0], 7: [3.0, 4.0]}, index=["p", "q"])
    read, named = as_frame(frame)
    assert named
    assert list(read.columns) == ["b", "7"]
    assert list(frame.columns) == ["b", 7]
    assert np.shares_memory(read["b"].to_numpy(), frame["b"].to_numpy())


@pytest.mark.parametrize("count", [1, 10, 11, 101])
def test_array_names_sort_in_their_order(count):
    names = array_names(count)
    assert len(set(names)) == count
    assert names == sorted(names)


def test_what_can_become_pandas_is_read():
    class Other:
        def to_pandas(self):
            return pd.DataFrame({"a": [1, 2]})

    assert as_frame(Other())[0]["a"].tolist() == [1, 2]


def test_columns_match_by_name():
    frame = pd.DataFrame({"job": ["clerk", "nurse"], "size": [1.5, 2.5], 7: [1, 0]})
    tokenizer = TableTokenizer().fit(frame)
    with pytest.warns(UserWarning, match=r"ignored: \['extra', 'other'\]"):
        more = tokenizer.transform(frame.assign(other=1, extra=2))
    assert more.x.equal(tokenizer.transform(frame).x)
    with pytest.raises(ValueError, match=r"missing: \['7', 'job'\]"):
        tokenizer.transform(frame.drop(columns=["job", 7]))


def test_arrays_and_lists_match_by_position():
    values = np.random.default_rng(0).normal(size=(5, 11))
    tokenizer = TableTokenizer().fit(values)
    assert tokenizer.column_names[:2] == ("x00", "x01")
    expected = tokenizer.transform(values).x
    for same in (values.tolist(), torch.from_numpy(values), pd.DataFrame(values), values.astype(object)):
        assert tokenizer.transform(same).x.equal(expected)
    named = TableTokenizer().fit(pd.DataFrame(values, columns=list("lkjihgfedcba"[:11])))
    assert named.transform(values).x.view(5, 11).flip(1).equal(expected.view(5, 11))
    with pytest.raises(ValueError, match="X has 7 features, but TableTokenizer is expecting 11 features"):
        tokenizer.transform(values[:, :7])
    mixed = TableTokenizer().fit([[1, "a"], [2, "b"]])
    assert [column.kind for column in mixed.columns_] == ["numeric", "categorical"]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (pd.DataFrame({"a": []}), ValueError, "at least one row"),
        (pd.DataFrame(index=range(5)), ValueError, r"0 feature\(s\) \(shape=\(5, 0\)\) while a minimum of 1"),
        (np.zeros((0, 3)), ValueError, "at least one row"),
        (np.zeros(3), ValueError, "Reshape your data"),
        (np.zeros((2, 3, 5)), ValueError, "Reshape your data"),
        ([1, 2, 3], ValueError, "Reshape your data"),
        ([], ValueError, "while a minimum of 1 is required"),
        ([[1, 2], [3]], ValueError, r"row 1 of the table must have 2 cells \(got 1\)"),
        (pd.Series([1, 2]), ValueError, "Reshape your data"),
        (sparse.eye(3).tocsr(), ValueError, "Sparse input is not supported"),
        ("table.csv", TypeError, "must be a DataFrame"),
        (None, TypeError, "must be a DataFrame"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, r"repeated: \['a'\]"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), ValueError, r"repeated: \['1'\]"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), ValueError, "one level"),
        (pd.DataFrame({"a": [[1], [2]]}), ValueError, "column 'a'.*got a list in row 0"),
        (np.array([[1j, 2]]), ValueError, "Complex data not supported"),
    ],
)
def test_bad_tables_are_refused(table, error, message):
    with pytest.raises(error, match=message):
        TableTokenizer().fit(table)

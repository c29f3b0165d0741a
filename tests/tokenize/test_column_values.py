import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize.column_values import (
    NestedValueError,
    Strings,
    infer_dtype,
    looks_like_dates,
    read_numbers,
    read_parts,
    read_strings,
)


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        ([], "number"),
        ([None, None], "number"),
        (pd.Series([None], dtype="string"), "number"),
        ([True, None], "boolean"),
        ([1, 2.5, None], "number"),
        ([1, "x"], "string"),
        ([datetime.date(2024, 2, 29)], "datetime"),
        (pd.period_range("2024-01", periods=2, freq="M"), "datetime"),
        ([pd.Timedelta("1h")], "timedelta"),
        (pd.Categorical([1, 2]), "category"),
        (pd.arrays.SparseArray([0.0, 1.0]), "number"),
    ],
)
def test_what_a_column_holds(cells, dtype: str):
    assert infer_dtype(pd.Series(cells), "c") == dtype


@pytest.mark.parametrize("value", [[1], (1,), {"k": 1}, {1}, np.zeros(2)])
def test_nested_cells_are_refused_by_row(value):
    with pytest.raises(NestedValueError, match=r"column 'c': a cell argument must be .* in row 1"):
        infer_dtype(pd.Series([1, value]), "c")


@pytest.mark.parametrize("cells", [[1j], [1, 1j, "x"]])
def test_complex_numbers_are_refused(cells):
    with pytest.raises(ValueError, match="Complex data not supported: column 'c'"):
        infer_dtype(pd.Series(cells), "c")


def test_numbers_are_read_from_texts_and_blanks_are_missing():
    found = read_numbers(pd.Series(["1e3", " 2 ", "", "NaN", None], dtype=object), "c")
    assert found[:2].tolist() == [1000, 2]
    assert np.isnan(found[2:]).all()
    assert read_numbers(pd.Series([1, None], dtype="Int64"), "c")[0] == 1
    with pytest.raises(ValueError, match=r"number in each cell \(got 'x' in row b; 2 such cells in all\)"):
        read_numbers(pd.Series(["1", "x", "y"], index=list("abc")), "c")
    with pytest.raises(ValueError, match="must hold numbers"):
        read_numbers(pd.Series(pd.to_datetime(["2024-01-01"])), "c")


def test_whole_numbers_and_truth_values_read_the_same_however_they_are_held():
    for cells in ([1.0, None], [1, None], ["1", None], pd.Series([1, None], dtype="Int64"), [b"1", None]):
        found = read_strings(pd.Series(cells), "c")
        assert found.counts() == {"1": 1}
        assert found.codes[1] == -1
    assert read_strings(pd.Series(["TRUE", "0"]), "c", "boolean").counts() == {"True": 1, "False": 1}
    # True and 1 are equal for Python, and yet two strings.
    assert read_strings(pd.Series([True, 1], dtype=object), "c").counts() == {"True": 1, "1": 1}


@given(st.lists(st.sampled_from(["a", "b", "", None]), max_size=9))
def test_strings_are_counted_and_looked_up_cell_by_cell(cells):
    found = read_strings(pd.Series(cells, dtype=object), "c")
    known = [cell for cell in cells if cell is not None]
    assert found.counts() == {value: known.count(value) for value in dict.fromkeys(known)}
    places = found.lookup({"a": 7}, missing=-5, unknown=9)
    assert places.tolist() == [-5 if cell is None else 7 if cell == "a" else 9 for cell in cells]
    twice = Strings(np.array([0, 1, -1]), ["x", "x"])
    assert twice.counts() == {"x": 2}


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["2024-02-29", None], True),
        (["2024-02-29T12:30:00Z"], True),
        (["2023-02-29"], False),
        (["2024-02-29", "soon"], False),
        (["20240229"], False),
        ([20240229], False),
        ([], False),
        ([None], False),
    ],
)
def test_iso_dates_and_nothing_else_look_like_dates(cells, dates: bool):
    assert looks_like_dates(pd.Series(cells, dtype=object)) == dates


def test_dates_beyond_what_nanoseconds_hold_are_read():
    old = pd.Series(np.array(["1500-01-01", "NaT"], dtype="datetime64[s]"))
    parts = read_parts(old, "c", "datetime")
    assert parts["days"][0] == (datetime.date(1500, 1, 1) - datetime.date(1970, 1, 1)).days
    assert all(np.isnan(values[1]) for values in parts.values())


def test_times_are_read_in_utc_and_durations_in_seconds():
    parts = read_parts(pd.Series(["1970-01-02T01:00:00+02:00"]), "c", "datetime")
    assert {name: values[0] for name, values in parts.items()} == {
        "days": 23 / 24, "month": 1, "weekday": 3, "hour": 23
    }  # fmt: skip
    assert read_parts(pd.Series(["90s", None]), "c", "timedelta")["seconds"][0] == 90
    with pytest.raises(ValueError, match=r"column 'c' must hold a date in each cell \(got 'soon' in row 0"):
        read_parts(pd.Series(["soon"]), "c", "datetime")
    with pytest.raises(ValueError, match="must hold a duration in each cell"):
        read_parts(pd.Series([1.5]), "c", "timedelta")

import numpy as np
import pandas as pd
import pytest

from structformer.tokenize.columns import FIRST, MISSING, PRESENT, UNSEEN
from structformer.tokenize.table_encode import encode_cells, fit_columns

FRAME = pd.DataFrame(
    {"n": [1.0, 3.0, None, 5.0], "c": ["b", "a", "b", None], "k": [7, 7, 7, 7]}, index=list("wxyz")
)


def fitted(frame=FRAME, kinds=None):
    return fit_columns(frame, kinds or {}, "error")


def test_columns_come_by_name_and_constant_ones_are_left_out_with_a_reason():
    columns, dropped = fitted()
    assert [column.name for column in columns] == ["c", "n"]
    assert dropped.keys() == {"k"}
    (only,), none = fitted(FRAME[["k"]])
    assert (only.name, none) == ("k", {})
    with pytest.raises(ValueError, match=r"at least one column \(got 0\)"):
        fitted(FRAME[[]])


def test_a_part_of_a_date_never_takes_the_name_of_a_column():
    dates = pd.DataFrame({"d": pd.to_datetime(["2024-01-01", "2023-06-02", "2022-03-03"])})
    (first, *_), _ = fitted(dates)
    taken = (
        dates.assign(**{first.name: [1, 2, 3]})
        if first.name != "d"
        else dates.assign(**{"d month": [1, 2, 3]})
    )
    names = [column.name for column in fitted(taken)[0]]
    assert len(set(names)) == len(names)


def test_cells_say_missing_unseen_and_known():
    columns, _ = fitted()
    cells = encode_cells(columns, FRAME.assign(c=["a", "b", "new", None]), "error")
    assert cells.codes[:, 0].tolist() == [FIRST, FIRST + 1, UNSEEN, MISSING]
    assert cells.codes[:, 1].tolist() == [PRESENT, PRESENT, MISSING, PRESENT]
    assert cells.values[2, 1] == 0
    assert cells.values[0, 1] < cells.values[1, 1] < cells.values[3, 1]
    assert cells.strings == [""]


def test_texts_are_numbered_in_sorted_order_over_all_columns():
    frame = pd.DataFrame({"s": ["pear", None, "fig"], "t": ["fig", "apple", ""]})
    columns, _ = fitted(frame, {"s": "text", "t": "text"})
    cells = encode_cells(columns, frame, "error")
    assert cells.strings[1:] == sorted(cells.strings[1:])
    said = np.array(cells.strings)[cells.codes]
    assert said.tolist() == [["pear", "fig"], ["", "apple"], ["fig", ""]]


def test_the_order_of_rows_and_columns_changes_no_cell():
    columns, _ = fitted()
    order = [2, 0, 3, 1]
    again, _ = fitted(FRAME.iloc[order, ::-1])
    assert again == columns
    cells, moved = encode_cells(columns, FRAME, "error"), encode_cells(again, FRAME.iloc[order], "error")
    assert np.array_equal(moved.codes, cells.codes[order])
    assert np.array_equal(moved.values, cells.values[order])


def test_no_rows_give_no_cells_and_infinite_ones_are_named():
    columns, _ = fitted()
    assert encode_cells(columns, FRAME.iloc[:0], "error").codes.shape == (0, 2)
    with pytest.raises(ValueError, match=r"column 'n' must be finite \(got inf in row w"):
        encode_cells(columns, FRAME.assign(n=[np.inf, 1, 2, 3]), "error")

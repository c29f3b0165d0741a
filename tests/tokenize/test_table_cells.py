import numpy as np
import pandas as pd
import pytest

from structformer.tokenize.table_cells import encode_rows, name_cells, row_feature_names
from structformer.tokenize.table_encode import encode_cells, fit_columns

FRAME = pd.DataFrame(
    {
        "age": [39, 17, None],
        "day": pd.to_datetime(["2024-02-29", "1999-12-31", None]),
        "job": ["clerk", None, "baker"],
        "note": ["so  long " * 9, "", None],
        "size": [0.125, 2.5, -3.75],
    }
)
COLUMNS, _ = fit_columns(FRAME, {"note": "text", "job": "categorical"}, "error")
NAMES = [column.name for column in COLUMNS]


def named(frame: pd.DataFrame) -> list[dict[str, str]]:
    cells = encode_cells(COLUMNS, frame, "error")
    rows, count = cells.codes.shape
    types = np.tile(np.arange(count), rows)
    names = name_cells(COLUMNS, cells.values.ravel(), cells.codes.ravel(), types, cells.strings)
    assert [name.partition("=")[0] for name in names] == NAMES * rows
    pairs = [name.partition("=")[::2] for name in names]
    return [dict(pairs[row * count : (row + 1) * count]) for row in range(rows)]


def test_cells_are_named_by_what_stands_in_them():
    first, second, third = named(FRAME)
    assert (first["age"], first["job"], first["size"]) == ("39", "clerk", "0.125")
    assert "2024-02-29" in first.values()
    assert len(first["note"]) == 40
    assert first["note"].endswith("…")
    assert (second["job"], third["age"], third["note"]) == ("(missing)",) * 3
    assert named(FRAME.assign(job="pilot"))[0]["job"] == "(unseen)"


def test_no_cells_have_no_names_and_texts_must_come_along():
    none = np.zeros(0)
    assert name_cells(COLUMNS, none, none.astype(int), none.astype(int), [""]) == []
    place = NAMES.index("note")
    with pytest.raises(
        ValueError, match=r"must carry the text of column 'note' \(text_strings is too short\)"
    ):
        name_cells(COLUMNS, np.zeros(1), np.array([1]), np.array([place]), [""])


def test_rows_are_numbers_one_hot_categories_and_marks_of_gaps():
    cells = encode_cells(COLUMNS, FRAME.assign(job=["clerk", None, "pilot"]), "error")
    text = np.arange(2 * len(cells.strings), dtype=np.float32).reshape(-1, 2)
    rows = pd.DataFrame(
        encode_rows(COLUMNS, cells.values, cells.codes, text), columns=row_feature_names(COLUMNS, 2)
    )
    assert rows[["job=baker", "job=clerk"]].to_numpy().tolist() == [[0, 1], [0, 0], [0, 0]]
    assert rows["job=(missing)"].tolist() == [0, 1, 0]
    assert rows["age=(missing)"].tolist() == [0, 0, 1]
    assert rows[["note#0", "note#1"]].iloc[2].tolist() == [0, 1], "a missing text is the empty one"
    assert "size=(missing)" not in rows

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from structformer.tokenize.files import check_output, read_table, write_table


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": [1.5, None, 3.25],
            "kind": ["a", "b", None],
            "when": pd.to_datetime(["2024-02-29", "2024-03-01 12:30:00", None], format="ISO8601"),
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
def test_a_table_survives_the_round_trip(frame, tmp_path, suffix):
    path = write_table(frame, tmp_path / f"table{suffix}")
    again = read_table(path)
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    assert again["when"].dtype.kind == "M"
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


def test_a_named_index_is_written(tmp_path):
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["left", "right"], name="side"))
    assert list(read_table(write_table(frame, tmp_path / "t.csv")).columns) == ["side", "x"]


def test_npy_holds_the_numbers(tmp_path):
    frame = pd.DataFrame({"node": ["u", "v"], "e0": [1.0, 2.0], "e1": [3.0, 4.0]})
    path = write_table(frame, tmp_path / "t.npy")
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), [[1.0, 3.0], [2.0, 4.0]])


def test_dates_that_no_calendar_has_stay_strings(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("d,e\n2024-02-31,2024-02-28\n2024-01-01,2024-01-01T10:00:00Z\n")
    read = read_table(path)
    assert list(read["d"]) == ["2024-02-31", "2024-01-01"]
    assert read["e"].iloc[1] == pd.Timestamp("2024-01-01 10:00")


def test_a_header_alone_is_a_table_of_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n")
    assert read_table(path).shape == (0, 2)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_named_and_can_be_passed(tmp_path, delimiter):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1.5,2\n".replace(",", delimiter))
    with pytest.raises(ValueError, match=r"t\.csv.*delimiter looks like") as error:
        read_table(path)
    assert repr(delimiter) in str(error.value)
    assert read_table(path, delimiter).to_numpy().tolist() == [[1.5, 2.0]]


def test_decimal_commas_do_not_hide_the_delimiter(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;2,5\n")
    with pytest.raises(ValueError, match="delimiter looks like ';'"):
        read_table(path)


def test_a_lone_column_may_have_any_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a|b\n1\n2\n")
    assert list(read_table(path).columns) == ["a|b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv is empty"),
        ("\n\n", "t.csv is empty"),
        ("a,b,a\n1,2,3\n", "more than one column named 'a'"),
        ("a,b\n1,2\n1,2,3\n", "t.csv is not a readable csv file.*line 3"),
        ("a,b\n1,2,3\n4,5,6\n", "names 2 columns, but its first row has 3"),
        ('a,b\n1,"2\n', "t.csv is not a readable csv file"),
        (b"a,b\n\xff\xfe\xff,1\n", "t.csv is not a readable csv file in UTF-8"),
    ],
)
def test_a_damaged_csv_is_refused(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_table(path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_parquet_is_refused(frame, tmp_path, share):
    path = write_table(frame, tmp_path / "t.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"t\.parquet is (empty|not a readable parquet file)"):
        read_table(path)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
    (tmp_path / "t.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"'\.xlsx', not a table; known are \.csv, \.parquet"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="is a directory"):
        read_table(tmp_path)
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match="delimiter must be one character"):
        read_table(tmp_path / "t.csv", "::")


def test_check_output_refuses_before_the_work(tmp_path):
    assert check_output(tmp_path / "t.npy").name == "t.npy"
    with pytest.raises(ValueError, match=r"known are \.csv, \.parquet"):
        check_output(tmp_path / "t.npy", (".csv", ".parquet"))
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ValueError, match="is a directory"):
        check_output(tmp_path / "d.csv")


def test_missing_directories_are_made(tmp_path):
    frame = pd.DataFrame({"x": [0, 1, 2]})
    assert read_table(write_table(frame, tmp_path / "new" / "t.csv"))["x"].tolist() == [0, 1, 2]

import json
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.tokenize.tables import TableTokenizer

ROWS = 37


def make_frame(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(5, 2, rows),
            "count": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
            "flag": rng.random(rows) > 0.5,
            "job": rng.choice(["clerk", "nurse", "pilot"], rows),
            "note": [f"note {n} about {w}" for n, w in enumerate(rng.choice(["sun", "rain"], rows))],
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9999, rows), unit="h"),
            "wait": pd.to_timedelta(rng.integers(1, 99, rows), unit="min"),
            "grade": pd.Categorical(rng.choice([1, 2, 3], rows)),
            "mixed": np.array([1, "1", 2.5, True] * rows, dtype=object)[:rows],
            7: rng.integers(0, 5, rows),
        },
        index=[f"r{n}" for n in range(rows)],
    )
    for place, name in enumerate(["size", "count", "job", "note", "when", "grade"]):
        frame.iloc[3 + place, frame.columns.get_loc(name)] = None
    return frame


def cells(tokenizer, frame):
    """One {column: (value, code or text)} for each row."""
    tokens = tokenizer.transform(frame)
    found = []
    for row in range(tokens.num_sets):
        one = tokens.select(torch.tensor([row]))
        found.append(
            {
                name: (float(x), one.text_strings[code] if kind == "text" else int(code))
                for name, kind, x, code in zip(
                    tokenizer.column_names,
                    [column.kind for column in tokenizer.columns_],
                    one.x[:, 0],
                    one.code,
                    strict=True,
                )
            }
        )
    return found


def test_cells_are_laid_out_row_by_row_in_order_of_column_names():
    frame = make_frame()
    tokenizer = TableTokenizer().fit(frame)
    tokens = tokenizer.transform(frame)
    names = list(tokenizer.column_names)
    assert names == sorted(names)
    assert {"7", "when", "when.month", "when.weekday", "when.hour", "wait"} <= set(names)
    assert tokens.x.shape == (ROWS * tokenizer.num_columns, 1)
    assert tokens.x.dtype == torch.float32
    assert tokens.sizes.tolist() == [tokenizer.num_columns] * ROWS
    assert tokens.token_type[: tokenizer.num_columns].tolist() == list(range(tokenizer.num_columns))
    assert tokens.set_names == list(frame.index)
    kinds = {column.name: column.kind for column in tokenizer.columns_}
    assert kinds["size"] == kinds["count"] == kinds["wait"] == kinds["when.hour"] == "numeric"
    assert kinds["flag"] == kinds["job"] == kinds["grade"] == kinds["mixed"] == "categorical"
    assert kinds["note"] == "text"


def test_values_and_codes():
    frame = pd.DataFrame({"n": [1.0, 3.0, None, 2.0], "s": ["b", None, "a", "b"]})
    tokenizer = TableTokenizer().fit(frame)
    assert tokenizer.columns_[1].categories == ("a", "b")
    tokens = tokenizer.transform(pd.DataFrame({"s": ["a", "c", None], "n": [2.0, None, 1e9]}))
    x, code = tokens.x.view(3, 2), tokens.code.view(3, 2)
    assert code.tolist() == [[1, 2], [0, 1], [1, 0]]
    assert x[:2, 0].tolist() == [0, 0]
    assert x[2, 0] == pytest.approx(8)
    assert not x[:, 1].any()


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_changes_nothing(random):
    frame = make_frame()
    rows, columns = list(range(ROWS)), list(frame.columns)
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = frame.iloc[rows][columns]
    plain, other = TableTokenizer().fit(frame), TableTokenizer().fit(shuffled)
    assert plain.columns_ == other.columns_
    ours, theirs = plain.transform(frame), other.transform(shuffled)
    picked = ours.select(torch.tensor(rows))
    assert picked.set_names == theirs.set_names
    for field in ("x", "code", "token_type"):
        assert picked[field].equal(theirs[field])
    assert picked.text.equal(theirs.text)


def test_a_row_reads_the_same_alone_and_among_others():
    frame = make_frame()
    tokenizer = TableTokenizer().fit(frame)
    together = cells(tokenizer, frame)
    assert [cells(tokenizer, frame.iloc[[row]])[0] for row in range(ROWS)] == together
    np.testing.assert_array_equal(tokenizer.rows(frame)[11], tokenizer.rows(frame.iloc[[11]])[0])


def test_missing_comes_in_many_forms():
    frame = pd.DataFrame({"n": [1.0, 2.0, 4.0], "s": ["a", "b", "a"], "d": pd.date_range("2024", periods=3)})
    tokenizer = TableTokenizer().fit(frame)
    for nothing in (None, np.nan, pd.NA, pd.NaT):
        new = pd.DataFrame({name: pd.Series([nothing], dtype=object) for name in frame})
        assert not tokenizer.transform(new).code.any()
        assert not tokenizer.transform(new).x.any()


def test_text_cells_point_into_the_table_of_texts():
    frame = pd.DataFrame({"a": [f"word{i} and more" for i in range(31)], "b": [f"x{i}" for i in range(31)]})
    frame.loc[5, "a"] = None
    frame.loc[6, "a"] = "x6"
    tokenizer = TableTokenizer(text_width=58).fit(frame)
    tokens = tokenizer.transform(frame)
    code = tokens.code.view(31, 2)
    assert tokens.text.shape == (1 + 60, 58)
    assert not tokens.text[0].any()
    assert code[5, 0] == 0
    assert code[6, 0] == code[6, 1] > 0
    assert tokens.text_strings[code[4, 1]] == "x4"
    assert tokenizer.transform(frame.assign(a="", b=None)).code.tolist() == [1, 0] * 31


def test_cell_names_follow_select_and_permute():
    frame = pd.DataFrame(
        {
            "age": [39, 50, 28, None],
            "big": [1e-7, 2.5e-7, 3e-7, 4e-7],
            "day": pd.to_datetime(["2024-02-29", "2023-01-01", "1999-12-31", None]),
            "job": ["nurse", "pilot", None, "pilot"],
            "note": ["a " * 40, "b", "c", None],
        }
    )
    tokenizer = TableTokenizer(kinds={"note": "text"}).fit(frame)
    tokens = tokenizer.transform(frame.replace("nurse", "baker"))
    names = tokenizer.cell_names(tokens)
    width = tokenizer.num_columns
    assert names[:3] == ["age=39", "big=1e-07", "day=2024-02-29"]
    assert names[width - 2] == "job=(unseen)"
    assert names[width - 1] == "note=" + "a " * 19 + "a…"
    assert [names[-width], names[-1]] == ["age=(missing)", "note=(missing)"]
    assert {"day.month=1", "job=pilot"} <= set(names)
    picked = tokens.select(torch.tensor([2, 0]))
    assert tokenizer.cell_names(picked) == names[2 * width : 3 * width] + names[:width]
    flipped = torch.arange(width).flip(0)
    alone = tokens.select(torch.tensor([1])).permute(flipped)
    assert tokenizer.cell_names(alone) == names[width : 2 * width][::-1]
    with pytest.raises(ValueError, match="tokens must be cells of a table"):
        tokenizer.cell_names(TableTokenizer(view="rows").fit_transform(frame))
    del tokens.text_strings
    with pytest.raises(ValueError, match="text of column 'note'"):
        tokenizer.cell_names(tokens)


def test_rows_view():
    frame = pd.DataFrame({"n": [1.0, 3.0, None], "s": ["b", "a", None], "f": [True, False, True]})
    tokenizer = TableTokenizer(view="rows").fit(frame)
    names = tokenizer.row_feature_names
    assert names == ["f=False", "f=True", "n", "n=(missing)", "s=a", "s=b", "s=(missing)"]
    tokens = tokenizer.transform(frame)
    assert tokens.x.tolist() == tokenizer.rows(frame).tolist()
    expected = [[0, 1, -1, 0, 0, 1, 0], [1, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 1]]
    np.testing.assert_allclose(tokens.x, expected, rtol=0.02)
    assert (tokens.num_sets, tokens.names) == (1, ["0", "1", "2"])
    assert not tokenizer.rows(frame.assign(s="new"))[:, 4:].any()
    both = TableTokenizer(view="both").fit_transform(frame)
    assert both.num_sets == 3
    assert both.rows.x.equal(tokens.x)
    text = TableTokenizer(text_width=6, kinds={"s": "text"}).fit(frame)
    assert text.rows(frame).shape == (3, len(text.row_feature_names)) == (3, 11)


def test_json_and_pickle_restore_everything():
    frame = make_frame()
    tokenizer = TableTokenizer(view="both", text_width=18, kinds={"7": "categorical"}).fit(frame)
    text = json.dumps(tokenizer.to_dict(), allow_nan=False)
    for restored in (
        TableTokenizer.from_dict(json.loads(text)),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert restored.to_dict() == tokenizer.to_dict()
        ours, theirs = tokenizer.transform(frame), restored.transform(frame)
        assert ours.x.equal(theirs.x)
        assert ours.code.equal(theirs.code)
        assert ours.text.equal(theirs.text)
    with pytest.raises(ValueError, match="format must be 1"):
        TableTokenizer.from_dict({"format": 2})


def test_dropped_columns_are_not_asked_for():
    frame = pd.DataFrame({"a": [1, 2], "same": [3, 3], "none": [None, None]})
    tokenizer = TableTokenizer().fit(frame)
    assert tokenizer.dropped_ == {"same": "one value only", "none": "no value"}
    assert tokenizer.transform(frame[["a"]]).num_tokens == 2


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1.0], "b": ["x"]}), pd.DataFrame({"a": [None] * 3})])
def test_a_table_of_constants_still_has_tokens(frame):
    tokenizer = TableTokenizer().fit(frame)
    tokens = tokenizer.transform(frame)
    assert tokenizer.num_columns == frame.shape[1]
    assert not tokens.x.any()
    assert tokenizer.rows(frame).shape[0] == len(frame)


def test_zero_rows_at_transform():
    frame = make_frame()
    for view in ("cells", "rows", "both"):
        tokens = TableTokenizer(view=view).fit(frame).transform(frame.iloc[:0])
        assert tokens.num_tokens == 0
        assert tokens.num_sets == (view == "rows")
        assert TableTokenizer().fit(frame).rows(frame.iloc[:0]).shape[0] == 0


def test_changed_types_are_converted_or_named():
    frame = pd.DataFrame(
        {"n": [1.0, 2.5], "f": [True, False], "d": pd.date_range("2024", periods=2), "c": ["1", "x"]}
    )
    tokenizer = TableTokenizer().fit(frame)
    plain = tokenizer.transform(frame)
    same = frame.astype({"n": str, "f": int, "d": str}).assign(c=[1.0, "x"])
    assert tokenizer.transform(same).x.equal(plain.x)
    assert tokenizer.transform(same).code.equal(plain.code)
    with pytest.raises(ValueError, match=r"column 'n' must hold a number in each cell \(got 'ten' in row 1"):
        tokenizer.transform(frame.assign(n=["1", "ten"]))
    with pytest.raises(ValueError, match=r"column 'd' must hold a date in each cell \(got 3"):
        tokenizer.transform(frame.assign(d=3))
    with pytest.raises(ValueError, match="column 'n' must hold numbers"):
        tokenizer.transform(frame.assign(n=frame["d"]))


def test_iso_date_strings_are_dates():
    frame = pd.DataFrame({"d": ["2024-01-31", "2024-02-29", None]})
    tokenizer = TableTokenizer().fit(frame)
    assert tokenizer.column_names == ("d", "d.month", "d.weekday")
    as_dates = frame.assign(d=pd.to_datetime(frame["d"]))
    assert tokenizer.transform(as_dates).x.equal(tokenizer.transform(frame).x)


def test_a_date_part_does_not_hide_a_column():
    frame = pd.DataFrame({"d": pd.to_datetime(["2024-01-31", "2024-02-29"]), "d.month": ["Jan", "Feb"]})
    tokenizer = TableTokenizer().fit(frame)
    assert tokenizer.column_names == ("d", "d.month", "d.month'", "d.weekday")
    assert TableTokenizer().fit(frame[["d.month", "d"]]).columns_ == tokenizer.columns_


def test_infinite_values():
    frame = pd.DataFrame({"n": [1.0, 2.0, 5.0]})
    with pytest.raises(ValueError, match=r"column 'n' must be finite \(got inf in row 1"):
        TableTokenizer().fit(frame.replace(2.0, np.inf))
    bad = pd.DataFrame({"n": [np.inf, -np.inf]})
    with pytest.raises(ValueError, match="column 'n' must be finite"):
        TableTokenizer().fit(frame).transform(bad)
    clipped = TableTokenizer(infinite="clip").fit(frame)
    ends = clipped.transform(pd.DataFrame({"n": [5.0, 1.0]}))
    assert clipped.transform(bad).x.equal(ends.x)


@pytest.mark.usefixtures("unchecked")
def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"view must be one of .* \(got 'cell'\)"):
        TableTokenizer(view="cell")
    with pytest.raises(ValueError, match=r"infinite must be one of .* \(got 'drop'\)"):
        TableTokenizer(infinite="drop")
    with pytest.raises(ValueError, match=r"kinds must name columns of the table \(not among them: \['b'\]\)"):
        TableTokenizer(kinds={"b": "text"}).fit(pd.DataFrame({"a": [1, 2]}))
    with pytest.raises(RuntimeError, match="fitted first"):
        TableTokenizer().transform(pd.DataFrame({"a": [1]}))


def test_duplicate_row_labels_are_fine():
    frame = make_frame().set_axis(["same"] * ROWS)
    tokens = TableTokenizer().fit_transform(frame)
    assert tokens.set_names == ["same"] * ROWS


def test_a_large_table_is_quick():
    rng = np.random.default_rng(0)
    rows = 10_007
    frame = pd.DataFrame({f"n{i}": rng.normal(size=rows) for i in range(11)})
    for i in range(9):
        frame[f"c{i}"] = rng.choice(["red", "green", "blue", None], rows)
    start = time.perf_counter()
    TableTokenizer().fit_transform(frame)
    assert time.perf_counter() - start < 1.5


KNOWN = {
    "adult": {"categorical": 9, "numeric": 6},
    "ames": {"categorical": 40, "numeric": 34},
    "attrition": {"categorical": 15, "numeric": 16},
    "bank": {"categorical": 10, "numeric": 8},
    "california_housing": {"numeric": 9},
    "credit_data": {"categorical": 5, "numeric": 9},
    "diamonds": {"categorical": 3, "numeric": 7},
    "mlc_churn": {"categorical": 5, "numeric": 15},
    "titanicsurvival": {"categorical": 3, "numeric": 1},
    "womens_clothing_reviews": {"categorical": 3, "numeric": 5, "text": 2},
}


@pytest.mark.parametrize("name", KNOWN)
def test_real_tables(name, data_folder):
    path = data_folder / "tables" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    frame = pd.read_parquet(path)
    tokenizer = TableTokenizer().fit(frame)
    kinds = [column.kind for column in tokenizer.columns_]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == KNOWN[name]
    assert not tokenizer.dropped_
    head = frame.head(503)
    tokens = tokenizer.transform(head)
    assert tokens.x.abs().max() <= 8
    missing = tokens.code.view(len(head), -1) == 0
    assert missing.sum() == head.isna().sum().sum()
    scales = [np.std(column.quantiles) for column in tokenizer.columns_ if column.kind == "numeric"]
    assert min(scales) > 0.3
    assert max(scales) < 2
    names = dict(zip(tokenizer.column_names, tokenizer.cell_names(tokens), strict=False))
    first = head.iloc[0]
    for column in tokenizer.columns_:
        if column.kind == "categorical" and pd.notna(first[column.name]):
            assert names[column.name] == f"{column.name}={first[column.name]}"
        if column.kind == "numeric" and pd.notna(first[column.name]):
            shown = float(names[column.name].split("=")[1])
            assert shown == pytest.approx(first[column.name], rel=1e-4, abs=1e-4 * column.scale)

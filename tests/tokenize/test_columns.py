import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize.column_numbers import clip_infinite, describe_numbers, expand, squash
from structformer.tokenize.column_values import infer_dtype, looks_like_dates, read_parts
from structformer.tokenize.columns import Column, fit_column, infer_kind

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def objects(*values):
    return pd.Series(list(values), dtype=object)


def fitted(values, **options):
    found = fit_column(pd.Series(values), "c", **options)
    assert not isinstance(found, str), found
    return found


@pytest.mark.parametrize(
    ("series", "dtype"),
    [
        (pd.Series([1, 2]), "number"),
        (pd.Series([1, None], dtype="Int64"), "number"),
        (pd.Series([1.5, None], dtype="float64[pyarrow]"), "number"),
        (pd.Series(pd.arrays.SparseArray([0.0, 1.0])), "number"),
        (objects(1, None, 2.5), "number"),
        (objects(Decimal("1.1"), pd.NA), "number"),
        (objects(None, pd.NA, pd.NaT), "number"),
        (pd.Series([True, False]), "boolean"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (objects(True, None), "boolean"),
        (pd.Series(["a", None]), "string"),
        (objects("a", 1, 2.5), "string"),
        (objects(b"a", b"b"), "string"),
        (objects(True, 1), "string"),
        (pd.Series(["1", "2"]), "string"),
        (pd.Series([1, 2], dtype="category"), "category"),
        (pd.Series(pd.to_datetime(["2024-02-29"], utc=True)), "datetime"),
        (pd.Series(pd.period_range("2024", periods=2, freq="M")), "datetime"),
        (objects(datetime.date(2024, 2, 29), pd.NaT), "datetime"),
        (pd.Series([pd.Timedelta(1)]), "timedelta"),
    ],
)
def test_dtype_of_cells(series, dtype):
    assert infer_dtype(series, "c") == dtype


@pytest.mark.parametrize("cell", [[1], {"a": 1}, (1, 2), {3}, np.zeros(2)])
def test_nested_cells_are_refused_by_name(cell):
    series = pd.Series([None, "text", cell], index=["p", "q", "r"], dtype=object)
    with pytest.raises(ValueError, match=r"column 'c'.*in row r") as caught:
        infer_dtype(series, "c")
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("series", [pd.Series([1j, 2]), objects(1j, "a"), objects(1j)])
def test_complex_numbers_are_refused(series):
    with pytest.raises(ValueError, match="Complex data not supported: column 'c'"):
        infer_dtype(series, "c")


@given(st.lists(FINITE, min_size=1, max_size=41))
def test_squash_is_monotone_bounded_and_keeps_the_middle(values):
    ordered = np.sort(np.array(values))
    squashed = squash(ordered)
    assert (np.diff(squashed) >= 0).all()
    assert np.abs(squashed).max() <= 8
    middle = np.abs(ordered) <= 4
    np.testing.assert_array_equal(squashed[middle], ordered[middle])
    near = np.abs(ordered) < 1e4
    np.testing.assert_allclose(expand(squashed)[near], ordered[near], rtol=1e-9)


def test_squash_has_a_continuous_slope_and_takes_infinity():
    np.testing.assert_allclose(np.diff(squash(np.array([4 - 1e-6, 4.0, 4 + 1e-6]))), 1e-6, rtol=1e-3)
    np.testing.assert_allclose(squash(np.array([np.inf, -np.inf])), [8, -8])


def test_outliers_do_not_spoil_the_scale():
    rng = np.random.default_rng(0)
    clean = rng.normal(10, 2, 997)
    for outliers in ([1e12], [1e300, -1e300, 1e300]):
        column = fitted(np.concatenate([clean, outliers]))[0]
        assert column.mean == pytest.approx(10, abs=0.2)
        assert column.scale == pytest.approx(2, rel=0.1)
        assert column.standardise(np.array([1e300]))[0] == pytest.approx(8)
    # Zero-inflated: no interquartile range to go by.
    column = fitted(np.r_[np.zeros(900), rng.normal(100, 1, 97), 1e9])[0]
    assert column.scale < 1000


@given(st.lists(FINITE, min_size=2, max_size=31, unique=True), st.randoms(use_true_random=False))
def test_numbers_give_finite_json_whatever_the_order_of_rows(values, random):
    column = fitted(values)[0]
    restored = Column.from_dict(json.loads(json.dumps(column.to_dict(), allow_nan=False)))
    assert restored == column
    assert np.isfinite(column.standardise(np.array(values))).all()
    random.shuffle(values)
    assert fitted(values)[0] == column


def test_description_of_tiny_and_constant_columns():
    tiny = describe_numbers(np.array([5e-324, 1e-323]))
    assert tiny["scale"] > 0
    constant = describe_numbers(np.full(7, 0.1))
    assert (constant["mean"], constant["scale"]) == (0.1, 1.0)
    assert describe_numbers(np.array([0.0, 1.0, 2.0]))["integer"]


def test_quantile_bins():
    column = fitted(np.random.default_rng(0).normal(size=1009))[0]
    assert len(column.quantile_bins(48)) == 49
    values = column.standardise(np.random.default_rng(0).normal(size=1009))
    counts = np.histogram(values, column.quantile_bins(8))[0]
    assert counts.max() - counts.min() <= 3
    assert len(column.quantile_bins(7)) == 8
    assert (np.diff(fitted([0.0] * 97 + [1.0, 2.0])[0].quantile_bins(48)) > 0).all()
    only = fitted([3.0, 3.0], keep_constant=True)[0]
    assert only.quantile_bins(5).tolist() == [-1.0, 1.0]
    with pytest.raises(ValueError, match=r"n_bins must be from 1 to 48 \(got 49\)"):
        column.quantile_bins(49)
    with pytest.raises(ValueError, match="must be numeric"):
        fitted(["a", "b"])[0].quantile_bins(5)


def test_infinite_values_are_named_or_clipped():
    series = pd.Series([1.0, -np.inf, 3.0], index=["p", "q", "r"])
    with pytest.raises(ValueError, match=r"column 'c' must be finite \(got -inf in row q"):
        fit_column(series, "c")
    assert clip_infinite(series.to_numpy(), series, "c", "clip").tolist() == [1.0, 1.0, 3.0]
    assert fit_column(pd.Series([np.inf, -np.inf]), "c", infinite="clip") == "no value"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([2.0, 2.0], "one value only"),
        ([np.nan, None], "no value"),
        (["a", "a"], "one value only"),
        (pd.Series([None, None], dtype="str"), "no value"),
        (pd.to_datetime(["2024-01-01"] * 2), "one value only"),
        (pd.Series([pd.NaT, pd.NaT]), "no value"),
    ],
)
def test_constant_columns_are_dropped_for_a_reason(values, reason):
    assert fit_column(pd.Series(values), "c") == reason
    assert len(fitted(values, keep_constant=True)) == 1


@pytest.mark.parametrize("values", [[2.0, None], ["a", None], pd.to_datetime(["2024-01-01", None])])
def test_a_constant_with_missing_cells_is_kept(values):
    (column,) = fitted(values)
    assert column.has_missing


def test_dates_become_parts_that_vary():
    dates = pd.to_datetime(["2024-02-29 06:00", "2024-03-01 06:00", None])
    columns = fitted(dates)
    assert [column.name for column in columns] == ["c", "c.month", "c.weekday"]
    parts = read_parts(pd.Series(dates), "c", "datetime")
    assert parts["days"][:2].tolist() == [19782.25, 19783.25]
    assert parts["month"][:2].tolist() == [2, 3]
    assert parts["weekday"][:2].tolist() == [3, 4]
    assert all(np.isnan(values[2]) for values in parts.values())


def test_times_with_a_zone_are_read_in_utc():
    zoned = pd.Series(pd.to_datetime(["2024-01-01 01:00"]).tz_localize("Asia/Tokyo"))
    parts = read_parts(zoned, "c", "datetime")
    assert (parts["hour"][0], parts["month"][0]) == (16, 12)


def test_far_dates_do_not_overflow():
    series = pd.Series(np.array(["1066-10-14", "9999-12-31"], dtype="datetime64[s]"))
    assert read_parts(series, "c", "datetime")["days"].tolist() == [
        datetime.date(*day).toordinal() - 719163 for day in ((1066, 10, 14), (9999, 12, 31))
    ]


@pytest.mark.parametrize(
    ("values", "dates"),
    [
        (["2024-02-29", None], True),
        (["2024-02-29T12:30:00Z", "2024-02-28 01:00"], True),
        (["2023-02-29"], False),
        (["2024-02-29", "soon"], False),
        (["20240229"], False),
        ([None], False),
    ],
)
def test_iso_dates_in_strings(values, dates):
    assert looks_like_dates(pd.Series(values, dtype="str")) is dates


def test_durations_are_seconds():
    parts = read_parts(pd.Series([pd.Timedelta(minutes=2), pd.NaT]), "c", "timedelta")
    np.testing.assert_array_equal(parts["seconds"], [120, np.nan])


@pytest.mark.parametrize("dtype", ["datetime", "timedelta"])
@pytest.mark.parametrize("series", [pd.Series([5, 7]), pd.Series(["soon", "later"])])
def test_what_is_no_time_is_named(series, dtype):
    with pytest.raises(ValueError, match=r"column 'c' must hold a (date|duration) .*in row 0"):
        read_parts(series, "c", dtype)


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ({f"v{i}": 1 for i in range(20)}, "categorical"),
        ({f"v{i}": 1 for i in range(21)}, "text"),
        ({f"v{i}": 10 for i in range(211)}, "categorical"),
        ({f"v{i}": 9 for i in range(211)}, "text"),
        ({f"v{i}": 99 for i in range(1009)}, "text"),
        ({f"a rather long review number {i}": 1 for i in range(7)}, "text"),
        ({f"a rather long category number {i}": 5 for i in range(7)}, "categorical"),
    ],
)
def test_kind_of_strings(counts, kind):
    assert infer_kind(counts) == kind


@pytest.mark.usefixtures("unchecked")
def test_kinds_can_be_chosen():
    assert fitted([3, 1, 3], kind="categorical")[0].categories == ("1", "3")
    assert fitted(["a", "b"], kind="text")[0].kind == "text"
    assert fitted(["1", "2.5"], kind="numeric")[0].high == 2.5
    assert fitted([True, False], kind="numeric")[0].kind == "numeric"
    with pytest.raises(ValueError, match=r"kind of column 'c' must be one of .* \(got 'number'\)"):
        fit_column(pd.Series([1, 2]), "c", kind="number")
    with pytest.raises(ValueError, match=r"column 'c' must hold a number in each cell \(got 'x' in row 1"):
        fit_column(pd.Series(["1", "x"]), "c", kind="numeric")


def test_category_dtype_keeps_observed_categories_only():
    series = pd.Series(pd.Categorical([3, 1, 3], categories=[1, 2, 3]))
    (column,) = fitted(series)
    assert (column.categories, column.cardinality) == (("1", "3"), 4)


def test_column_from_foreign_values():
    with pytest.raises(ValueError, match="colour"):
        Column.from_dict({"name": "a", "source": "a", "kind": "text", "dtype": "string", "colour": 1})
    with pytest.raises(ValueError, match=r"missing: \['kind', 'dtype'\]"):
        Column.from_dict({"name": "a", "source": "a"})

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize.column_numbers import clip_infinite, describe_numbers, expand, squash

NUMBERS = st.floats(-1e6, 1e6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS, min_size=2, max_size=20))
def test_squashing_keeps_the_order_and_can_be_undone(values: list[float]):
    ordered = np.sort(np.array(values))
    squashed = squash(ordered)
    assert (np.abs(squashed) <= 8).all()
    assert (np.diff(squashed) >= 0).all()
    inner = np.abs(ordered) <= 4
    assert np.array_equal(squashed[inner], ordered[inner])
    np.testing.assert_allclose(expand(squashed), ordered, rtol=1e-6, atol=1e-9)


def test_infinity_has_an_end_and_missing_stays_missing():
    assert squash(np.array([np.inf, -np.inf])).tolist() == [8, -8]
    assert np.isfinite(expand(np.array([8.0, -8.0]))).all()
    assert np.isnan(squash(np.array([np.nan]))).all()
    assert np.isnan(expand(np.array([np.nan]))).all()


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_any_finite_numbers_have_a_finite_mean_and_a_positive_scale(values: list[float]):
    found = describe_numbers(np.sort(np.array(values)))
    assert np.isfinite(found["mean"])
    assert 0 < found["scale"] < np.inf
    assert found["low"] <= found["mean"] <= found["high"] or np.isclose(found["low"], found["high"])


def test_one_wild_value_does_not_set_the_scale():
    tame = describe_numbers(np.arange(100.0))
    wild = describe_numbers(np.array([*np.arange(100.0), 1e12]))
    assert tame["scale"] < wild["scale"] < 2 * tame["scale"]
    assert wild["high"] == 1e12


def test_no_value_a_constant_and_two_values():
    assert describe_numbers(np.array([]))["scale"] == 1
    constant = describe_numbers(np.full(7, 0.1))
    assert (constant["mean"], constant["scale"], constant["integer"]) == (0.1, 1, False)
    # All but one value are equal, so that the quartiles say nothing.
    rare = describe_numbers(np.array([0.0] * 999 + [5.0]))
    assert rare["scale"] < 1
    assert rare["integer"]


def test_infinite_values_are_refused_by_row_or_set_to_an_end():
    series = pd.Series([1.0, np.inf, -np.inf, np.nan], index=list("wxyz"))
    values = series.to_numpy()
    with pytest.raises(
        ValueError, match=r"column 'c' must be finite \(got inf in row x; 2 infinite in all\)"
    ):
        clip_infinite(values, series, "c", "error")
    clipped = clip_infinite(values, series, "c", "clip", (-3.0, 4.0))
    assert clipped[:3].tolist() == [1, 4, -3]
    assert np.isnan(clipped[3])
    assert clip_infinite(values, series, "c", "clip")[:3].tolist() == [1, 1, 1]
    assert np.isnan(clip_infinite(values[1:], series[1:], "c", "clip")).all()

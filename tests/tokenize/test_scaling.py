import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from structformer.tokenize.scaling import LINEAR_RANGE, Standardizer

ROWS = arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.floats(-1e6, 1e6))


def test_columns_of_zero_and_one_stay_and_constants_are_centred():
    values = np.array([[0, 7.0, 1.0], [1, 7.0, 3.0]])
    assert Standardizer.fit(values)(values).tolist() == [[0, 0, -1], [1, 0, 1]]


@given(ROWS)
def test_training_rows_come_out_centred_whatever_their_order(values: np.ndarray):
    scaler = Standardizer.fit(values)
    scaled = scaler(values)
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    turned = Standardizer.fit(values[::-1])(values)
    np.testing.assert_allclose(turned, scaled, atol=1e-4)
    assert Standardizer.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


def test_far_values_are_bent_and_keep_their_order():
    scaler = Standardizer((0.0,), (1.0,))
    far = np.array([-1e300, -9.0, -8.0, 0.5, 8.0, 9.0, 1e300])[:, None]
    found = scaler(far)[:, 0]
    assert (np.diff(found) > 0).all()
    assert found[[2, 3, 4]].tolist() == [-8, 0.5, 8]
    assert found[5] == pytest.approx(LINEAR_RANGE + np.log(2))
    assert abs(found[0]) < 1_000


def test_rounding_is_no_spread_and_large_offsets_lose_nothing():
    rounded = np.full((3, 1), 0.1) + np.array([[0], [1e-17], [0]])
    assert Standardizer.fit(rounded).scale == (1.0,)
    large = 1e9 + np.array([[0.0], [2.0]])
    assert Standardizer.fit(large)(large).tolist() == [[-1], [1]]


def test_no_rows_leave_the_columns_as_they_are():
    scaler = Standardizer.fit(np.zeros((0, 2)))
    assert scaler(np.array([[3.0, 4.0]])).tolist() == [[3, 4]]
    assert scaler(np.zeros((0, 2))).shape == (0, 2)

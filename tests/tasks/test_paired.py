import numpy as np
import pytest
from scipy.stats import ttest_1samp
from structformer.tasks.paired import paired


def test_the_interval_is_students():
    differences = np.random.default_rng(0).normal(0.3, 1.0, 17).tolist()
    found = paired(differences)
    low, high = ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(np.mean(differences))


@pytest.mark.parametrize(
    ("differences", "sign"),
    [([1.0, 1.1, 0.9], 1), ([-1.0, -1.1, -0.9], -1), ([1.0, -1.1, 0.2], 0), ([5.0], 0)],
)
def test_the_sign_is_that_of_the_whole_interval(differences, sign):
    assert paired(differences).sign == sign


def test_there_must_be_a_difference():
    with pytest.raises(ValueError, match="at least one"):
        paired([])

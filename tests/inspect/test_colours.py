from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.inspect.colours import MOST_CLASSES, encode, is_scale, plain, shorten


def test_plain_values():
    assert plain(np.array([1.5, np.nan]), 2) == [1.5, None]
    assert plain(torch.tensor([1, -1]), 2) == [1, -1]
    assert plain(pd.Series(["a", None, pd.NA]), 3) == ["a", None, None]
    assert plain([np.int64(3), pd.NaT], 2) == [3, None]
    assert plain(None, 2) == [None, None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 1.0, None], True),
        ([0, 1, 1], False),
        ([0.0, 1.0], False),
        (list(range(50)), True),
        (["a", "b"], False),
        ([True, False], False),
        ([None], False),
    ],
)
def test_scales_are_told_from_classes(values, expected):
    assert is_scale(values) is expected


def test_classes_are_sorted_and_counted():
    coded = encode("label", [10, 9, None, 10])
    assert coded["classes"] == [{"name": "9", "count": 1}, {"name": "10", "count": 2}]
    assert coded["value"] == [1, 0, -1, 1]


def test_of_many_classes_the_small_ones_share_one():
    values = [name for place, name in enumerate("abcdefghijklmn") for _ in range(place + 1)]
    coded = encode("label", values)
    assert len(coded["classes"]) == MOST_CLASSES
    assert coded["classes"][-1] == {"name": "5 other classes", "count": 1 + 2 + 3 + 4 + 5}
    assert coded["value"][0] == MOST_CLASSES - 1
    assert coded["classes"][coded["value"][-1]]["name"] == "n"


def test_as_many_classes_as_colours_all_keep_theirs():
    coded = encode("label", list(range(MOST_CLASSES)))
    assert [entry["name"] for entry in coded["classes"]] == [str(i) for i in range(MOST_CLASSES)]


def test_a_scale_leaves_out_what_is_not_finite():
    coded = encode("y", [0.5, None, float("inf"), -2.0])
    assert coded["value"] == [0.5, None, None, -2.0]
    assert (coded["low"], coded["high"]) == (-2.0, 0.5)


def test_shorten():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten(1 / 3, 20) == "0.333333"

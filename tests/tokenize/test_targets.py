from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from structformer.tokenize.targets import infer_task, split_target


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"size": [1.5, None, np.inf], "kind": ["a", "b", None], "count": [1, 2, 3]})


def test_the_target_is_taken_out(frame):
    features, target = split_target(frame, "count")
    assert list(features.columns) == ["size", "kind"]
    assert target.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("knid", "t has no column 'knid'; its columns are 'size', 'kind', 'count'"),
        ("kind", "t: the target 'kind' is missing in row 3$"),
        ("size", "t: the target 'size' is missing in row 2, as in 1 other rows"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused(frame, target, message):
    with pytest.raises(ValueError, match=message):
        split_target(frame, target, "t")


def test_other_targets_that_cannot_be_used(frame):
    with pytest.raises(ValueError, match="the target 'size' is inf in row 2"):
        split_target(frame.drop(index=1), "size")
    with pytest.raises(ValueError, match="no column besides the target"):
        split_target(frame[["count"]], "count")
    frame["when"] = pd.Timestamp("2024-01-01")
    with pytest.raises(ValueError, match="the target 'when' holds dates"):
        split_target(frame, "when")


def test_many_columns_are_not_all_listed():
    with pytest.raises(ValueError, match="'c39' and 13 more"):
        split_target(pd.DataFrame(np.zeros((1, 53)), columns=[f"c{i}" for i in range(53)]), "y")


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 2], "classification"),
        ([0.0, 1.0], "classification"),
        ([0.5, 1.0], "regression"),
        (list(range(20)), "classification"),
        (list(range(21)), "regression"),
        (pd.Series([1, 2], dtype="Int64"), "classification"),
        (pd.Series(["a", "b"], dtype="category"), "classification"),
    ],
)
def test_the_task_follows_from_the_target(values, task):
    assert infer_task(pd.Series(values)) == task

import numpy as np
import pandas as pd
import pytest
from structformer.tasks.baselines.table_sklearn import boosting, linear, random_forest

KINDS = (linear, random_forest, boosting)


@pytest.fixture
def table() -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers and categories, both with gaps, and which category it was before there were any."""
    drawn = np.random.default_rng(0)
    red = drawn.integers(2, size=80)
    frame = pd.DataFrame({"n": drawn.normal(size=80), "colour": np.where(red, "red", "blue")})
    frame.loc[::9, "n"] = np.nan
    frame.loc[::11, "colour"] = None
    return frame, red


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_and_what_was_never_seen_are_taken(kind, table):
    frame, red = table
    model = kind("classification", 0, 1).fit(frame[:60], red[:60])
    assert model.predict_proba(frame[60:].assign(colour="green")).shape == (20, 2)
    told = frame["colour"].notna() & (frame.index >= 60)
    assert model.score(frame[told], red[told]) > 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_predicted_and_the_seed_decides(kind, table):
    frame, red = table
    y = red * 3 + frame["n"].fillna(0)
    one, same = (kind("regression", 0, 1).fit(frame[:60], y[:60]).predict(frame[60:]) for _ in range(2))
    assert np.array_equal(one, same)
    assert np.corrcoef(one, y[60:])[0, 1] > 0.7

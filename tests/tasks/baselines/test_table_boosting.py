import numpy as np
import pandas as pd
import pytest
from structformer.tasks.baselines.table_boosting import catboost, lightgbm, xgboost

KINDS = {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost}


@pytest.fixture(params=KINDS)
def kind(request):
    pytest.importorskip(request.param)
    return KINDS[request.param]


@pytest.mark.filterwarnings("ignore")
def test_gaps_and_categories_are_taken_as_they_are(kind):
    drawn = np.random.default_rng(0)
    frame = pd.DataFrame({"n": drawn.normal(size=120), "c": drawn.choice(["a", "b", None], 120)})
    frame.loc[::7, "n"] = np.nan
    y = frame["c"].map({"a": "yes", "b": "no"}).fillna("perhaps")
    codes = pd.Categorical(y).codes
    model = kind("classification", 0, 1).fit(frame[:90], codes[:90])
    found = model.predict(frame[90:])
    assert found.shape == (30,)
    assert (found == codes[90:]).mean() > 0.9
    assert model.predict_proba(frame[90:].assign(c="new")).shape == (30, 3)
    numbers = kind("regression", 0, 1).fit(frame[:90], codes[:90] * 10.0).predict(frame[90:])
    assert np.abs(numbers - codes[90:] * 10.0).mean() < 3

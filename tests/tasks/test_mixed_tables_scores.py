import numpy as np
import pytest
from structformer.tasks.mixed_tables_data import split_table
from structformer.tasks.mixed_tables_scores import change, invariance, retrained, scores, shuffled

CLASSES, NUMBERS = split_table("made-up classes", 0, 320), split_table("made-up numbers", 0, 320)


class ByName:
    """Predicts from one column, found by its name."""

    def fit(self, frame, target):
        return self

    def predict(self, frame):
        return frame["count"].to_numpy()

    def predict_proba(self, frame):
        share = frame["count"].to_numpy() / 20
        return np.stack([1 - share, share], axis=1)


class ByPlace(ByName):
    """Predicts from where a row stands."""

    def predict(self, frame):
        return np.arange(len(frame)) * 1.0

    def predict_proba(self, frame):
        share = np.arange(len(frame)) / len(frame)
        return np.stack([1 - share, share], axis=1)


class Memorised(ByName):
    """Predicts from the last row that it learned from."""

    def fit(self, frame, target):
        self.last = target[-1]
        return self

    def predict(self, frame):
        return np.full(len(frame), self.last)


def test_scores_of_classes():
    truth = CLASSES.test_target
    share = np.where(truth == 1, 0.8, 0.4)
    found = scores(np.stack([1 - share, share], axis=1), CLASSES)
    assert found["score"] == found["accuracy"] == 1.0
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    turned = scores(np.stack([share, 1 - share], axis=1), CLASSES)
    assert turned["score"] == turned["accuracy"] == 0.0


def test_scores_of_numbers():
    truth = NUMBERS.test_target
    assert scores(truth, NUMBERS) == {"score": 1.0, "rmse": 0.0}
    off = scores(np.full(len(truth), truth.mean()), NUMBERS)
    assert off["score"] == pytest.approx(0.0)
    assert off["rmse"] == pytest.approx(truth.std())


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match=r"finite \(got nan\)"):
        scores(np.full(len(NUMBERS.test_target), np.nan), NUMBERS)
    with pytest.raises(ValueError, match=r"two classes \(got 3\)"):
        scores(np.full((len(CLASSES.test_target), 3), 1 / 3), CLASSES)


def test_shuffling_moves_rows_and_columns_and_loses_none():
    frame, places = shuffled(CLASSES.test, np.random.default_rng(0))
    assert list(frame.columns) != list(CLASSES.test.columns)
    assert list(frame.index) != list(CLASSES.test.index)
    assert frame[CLASSES.test.columns].equals(CLASSES.test.iloc[places])
    assert sorted(places) == list(range(len(CLASSES.test)))


@pytest.mark.parametrize("split", [CLASSES, NUMBERS], ids=["classes", "numbers"])
def test_invariance_tells_a_model_that_looks_at_places(split):
    assert invariance(ByName(), split, 5, 40, 0) == {"changed": 0.0, "largest": 0.0}
    found = invariance(ByPlace(), split, 5, 40, 0)
    assert found["changed"] > 0.3
    assert found["largest"] > 0.3


def test_a_model_that_looks_at_the_order_of_training_rows_is_told():
    found = NUMBERS.test["count"].to_numpy()
    assert retrained(ByName, found, NUMBERS, 0) == {"retrained": 0.0}
    before = Memorised().fit(NUMBERS.train, NUMBERS.train_target).predict(NUMBERS.test)
    assert retrained(Memorised, before, NUMBERS, 0) == {"retrained": 1.0}


def test_change_of_numbers_is_in_spreads_of_the_target():
    before = NUMBERS.test_target
    after = before.copy()
    after[:4] += 2 * NUMBERS.train_target.std()
    share, largest = change(before, after, NUMBERS)
    assert share == 4 / len(before)
    assert largest == pytest.approx(2.0)

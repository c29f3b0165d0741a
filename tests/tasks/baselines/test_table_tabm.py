import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

pytest.importorskip("tabm")

from structformer.tasks.baselines.table_tabm import TabMTable, tabm
from structformer.tasks.mixed_tables_data import split_table

SPLIT = split_table("made-up numbers", 0, 120)


def test_the_best_epoch_on_the_held_out_part_is_kept(monkeypatch):
    losses, states = iter([3.0, 1.0, 2.0, 1.5, 0.5]), []

    def held(self, outputs, truth):
        states.append({key: value.clone() for key, value in self.model_.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(TabMTable, "_held_loss", held)
    model = tabm("regression", 0, 1, patience=2).fit(SPLIT.train, SPLIT.train_target)[-1]
    # After the fourth epoch there was none better for two.
    assert model.epochs_ == len(states) == 4
    for key, value in model.model_.state_dict().items():
        assert value.equal(states[1][key])


def test_members_learn_by_themselves():
    target = torch.tensor([1.0])
    apart = torch.tensor([[[0.0], [2.0]]])
    # The mean of the members is right, but neither is.
    assert float(TabMTable("regression", 0)._loss(apart, target)) == 1.0
    assert float(TabMTable("regression", 0)._held_loss(apart, target)) == 0.0


def test_numbers_are_in_the_units_of_the_target():
    far = SPLIT.train_target * 1_000 + 50_000
    model = tabm("regression", 0, 1, epochs=3).fit(SPLIT.train, far)
    found = model.predict(SPLIT.test)
    assert abs(found.mean() - far.mean()) < 2 * far.std()


def test_the_held_out_part_teaches_nothing():
    target = SPLIT.train_target
    _, held = train_test_split(np.arange(len(target)), test_size=0.15, random_state=0)
    other = target.copy()
    other[held] = -other[held]
    first, second = (
        tabm("regression", 0, 1, epochs=1).fit(SPLIT.train, some).predict(SPLIT.test)
        for some in (target, other)
    )
    np.testing.assert_array_equal(first, second)

from types import SimpleNamespace

import pytest
from structformer.tasks.choices import check_chosen


def test_what_there_is_may_be_chosen_and_nothing_else():
    settings = SimpleNamespace(arms=("soes",), tasks=(1, 4))
    check_chosen(settings, arms={"soes": None}, tasks=range(1, 5))
    check_chosen(SimpleNamespace(arms=()), arms=())
    with pytest.raises(ValueError, match=r"tasks must be among 1, 2 \(got 4\)"):
        check_chosen(settings, arms=("soes",), tasks=(1, 2))


def test_names_with_commas_are_told_apart():
    settings = SimpleNamespace(arms=("lstm", "gru"))
    with pytest.raises(ValueError, match=r"arms must be among soes; soes, both \(got lstm, gru\)"):
        check_chosen(settings, arms=("soes", "soes, both"))

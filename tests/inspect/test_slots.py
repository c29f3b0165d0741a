from __future__ import annotations

import numpy as np
import pytest

from structformer.inspect.named import NamedTokens
from structformer.inspect.slots import Slots


def slots() -> Slots:
    """Two steps, sets of two, no and three tokens, two slots."""
    pooled = np.array([[[0.5, 1], [0.5, 0], [0, 0.25], [0.75, 0.5], [0.25, 0.25]]] * 2)
    read = np.array([[[0.5, 0.5]] * 5, [[1, 0], [0.5, 0.5], [0, 1], [0, 1], [0.25, 0.75]]])
    kept = np.array([[[0.1, 0.2], [1, 1], [0.3, 0.4]], [[0.5, 0.6], [1, 1], [0.7, 0.8]]])
    return Slots(NamedTokens(np.array([0, 2, 2, 5]), list("abcde"), ["s", "t", "u"]), kept, pooled, read)


def test_the_table_says_what_became_of_each_slot():
    frame = slots().to_frame().set_index(["step", "set_name", "slot"])
    assert frame["kept"].loc[(2, "u")].tolist() == [0.7, 0.8]
    assert frame["most"].loc[1].tolist() == ["a", "a", None, None, "d", "d"]
    assert frame["tokens"].loc[(1, "s")].tolist() == pytest.approx([2, 1])
    assert frame["read"].loc[2].tolist() == pytest.approx([0.75, 0.25, 0, 0, 0.25 / 3, 2.75 / 3])


def test_a_slot_names_the_tokens_that_it_pooled_most_first():
    frame = slots().slot(0, step=2, of=2)
    assert frame.to_dict("list") == {
        "token": [3, 4, 2],
        "name": ["d", "e", "c"],
        "pooled": [0.75, 0.25, 0],
        "read": [0, 0.25, 0],
    }
    assert slots().slot(1, step=1, of=1).empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slot": 2, "step": 1}, r"slot must be from 0 to 1 \(got 2\)"),
        ({"slot": 0, "step": 0}, r"step must be from 1 to 2 \(got 0\)"),
        ({"slot": 0, "step": 1, "of": 3}, r"of must be from 0 to 2 \(got 3\)"),
    ],
)
def test_what_is_not_there_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        slots().slot(**arguments)

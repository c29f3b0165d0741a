from __future__ import annotations

import json

import numpy as np
import pytest

from structformer.inspect.named import NamedTokens
from structformer.inspect.report_memory import memory_view
from structformer.inspect.slots import Slots

DRAW = np.random.default_rng(0)
COLUMNS = ("age", "job")


def memory(ptr: tuple[int, ...] = (0, 4, 10), table: bool = False) -> Slots:
    """Three steps, five slots."""
    count = ptr[-1]
    names = list(COLUMNS) * (count // 2) if table else [f"n{place}" for place in range(count)]
    tokens = NamedTokens(np.array(ptr), names, columns=COLUMNS if table else None)
    weights = DRAW.random((2, 3, count, 5))
    return Slots(tokens, DRAW.random((3, len(ptr) - 1, 5)), weights[0], weights[1])


def test_memory_names_the_tokens_that_each_slot_pooled_most():
    slots = memory()
    view = json.loads(json.dumps(memory_view(slots, "node", ["left", "right"])))
    assert [of["name"] for of in view["views"]] == ["left", "right", "all 2 sets, mean"]
    for number, of in enumerate(view["views"][:2]):
        np.testing.assert_allclose(of["kept"], slots.kept[:, number], rtol=0.01)
        for step, slot in np.ndindex(3, 5):
            frame = slots.slot(slot, step + 1, number)
            told = of["pooled"][step][slot]
            assert [view["names"][place] for place, _ in told] == frame["name"].head(8).tolist()
            np.testing.assert_allclose([w for _, w in told], frame["pooled"].head(8), rtol=0.01)
            readers = frame.sort_values("read", ascending=False, ignore_index=True)["name"].head(8)
            assert [view["names"][place] for place, _ in of["readers"][step][slot]] == readers.tolist()
    step, slot = view["first"]
    assert slots.kept.mean(1)[step, slot] == slots.kept.mean(1).min()


def test_rows_of_a_table_are_averaged_column_by_column():
    slots = memory((0, 2, 4, 6), table=True)
    first = memory_view(slots, "cell")["views"][0]
    assert first["name"] == "all 3 rows, mean"
    mean = slots.pooled.reshape(3, 3, 2, 5).mean(1)
    place, weight = first["pooled"][1][2][0]
    assert weight == pytest.approx(mean[1, :, 2].max(), rel=0.01)
    assert memory_view(slots, "cell")["names"][place] == COLUMNS[mean[1, :, 2].argmax()]


def test_only_the_first_sets_are_listed():
    slots = memory(tuple(range(0, 70, 3)))
    view = memory_view(slots, "point")
    assert len(view["views"]) == 21
    assert view["left"] == 3


def test_only_names_that_are_shown_are_on_the_page():
    slots = memory((0, 500))
    assert len(memory_view(slots, "node")["names"]) <= 2 * 3 * 5 * 8

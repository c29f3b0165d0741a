import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from structformer.graph.texts import find_room, write_names

HALF = np.array([4.0, 1.5])


def boxes(points, reach, spots):
    for node, spot in spots.items():
        middle = points[node] + spot * (HALF + reach[node] + 1)
        yield node, np.concatenate([middle - HALF, middle + HALF])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12), st.integers(0, 3)
)
def test_no_text_covers_another_or_a_node(places, radius: int):
    points, reach = np.array(places, dtype=float), np.full(len(places), float(radius))
    spots = find_room(points, reach, dict.fromkeys(range(len(places)), HALF))
    found = list(boxes(points, reach, spots))
    for node, box in found:
        for other, (x, y) in enumerate(points):
            inside = (
                (x + radius > box[0]) & (x - radius < box[2]) & (y + radius > box[1]) & (y - radius < box[3])
            )
            assert other == node or not inside
        for other, taken in found:
            apart = (box[:2] >= taken[2:]).any() or (box[2:] <= taken[:2]).any()
            assert other == node or apart


def test_who_comes_first_has_the_first_choice():
    points, reach = np.array([[0.0, 0.0], [0.0, 9.0]]), np.zeros(2)
    for order in ((0, 1), (1, 0)):
        spots = find_room(points, reach, dict.fromkeys(order, HALF))
        assert spots[order[0]].tolist() == [0, 1]
    crowd = np.zeros((30, 2)) + np.arange(30)[:, None] * 0.1
    assert find_room(crowd, np.ones(30), dict.fromkeys(range(30), HALF)).keys() < set(range(30))


def written(names, most=9):
    ax = Figure(figsize=(4, 4)).add_subplot()
    ax.set(xlim=(-1, 10), ylim=(-1, 10))
    places = np.stack([np.arange(len(names)) * 4.0, np.arange(len(names)) * 4.0], axis=1)
    rank = np.arange(len(names), dtype=float)
    count = write_names(ax, names, places, np.ones(len(names)), rank, most)
    assert count == len(ax.texts)
    return [text.get_text() for text in ax.texts]


def test_the_best_ranked_names_are_written_and_empty_ones_are_not():
    assert written(["a", "", "c"]) == ["a", "c"]
    assert written(["a", "b", "c"], most=1) == ["c"]
    assert written([]) == []


@pytest.mark.parametrize("name", ["$x_1$", "50% \\frac{", "名前", "\n", "_hidden"])
def test_names_are_texts_and_no_formulas(name: str):
    assert written([name]) == ([" ".join(name.split())] if name.strip() else [])

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph.layout import layout

NONE = np.zeros((0, 2), dtype=np.int64)


def ring(nodes: int) -> np.ndarray:
    return np.array([(i, (i + 1) % nodes) for i in range(nodes)])


def test_no_node_and_one_node_have_their_places():
    assert layout(NONE, np.zeros(0), 0).shape == (0, 2)
    assert layout(NONE, np.zeros(0), 1).tolist() == [[0, 0]]


@pytest.mark.parametrize("weight", [0.0, 1e-300, 1e300])
def test_weights_of_any_size_give_finite_places(weight: float):
    assert np.isfinite(layout(ring(5), np.full(5, weight), 5)).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_parts_that_nothing_joins_do_not_cover_each_other(one: int, other: int, random):
    # Two paths, their nodes mixed.
    place = random.sample(range(one + other), one + other)
    pairs = [(i, i + 1) for i in range(one + other - 1) if i != one - 1]
    moved = np.array([(place[a], place[b]) for a, b in pairs], dtype=np.int64).reshape(-1, 2)
    xy = layout(moved, np.ones(len(moved)), one + other)
    first, second = (xy[place[:one]], xy[place[one:]])
    apart = np.linalg.norm(first.mean(0) - second.mean(0))
    reach = [np.linalg.norm(part - part.mean(0), axis=1).max() for part in (first, second)]
    assert apart > sum(reach)


def test_discs_keep_apart_even_where_they_would_lie_in_one_place():
    star = np.array([(0, i) for i in range(1, 8)])
    radii = np.linspace(0.5, 3, 8)
    xy = layout(star, np.ones(7), 8, radii=radii)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    room = radii[:, None] + radii[None]
    assert (distance >= room - 1e-6)[~np.eye(8, dtype=bool)].all()


def test_the_same_seed_gives_the_same_places_and_nodes_near_those_they_are_joined_to():
    pairs = np.concatenate([ring(60), ring(60) + 60, [[0, 60]]])
    weight = np.ones(len(pairs))
    one, other = (layout(pairs, weight, 120, seed=3) for _ in range(2))
    assert np.array_equal(one, other)
    joined = np.linalg.norm(one[pairs[:, 0]] - one[pairs[:, 1]], axis=1).mean()
    assert joined < 0.5 * np.linalg.norm(one[:, None] - one[None], axis=2).mean()


def test_strong_edges_are_short_among_weak_ones():
    """Two groups that every node of one joins to every node of the other, but weakly, are two groups to see."""
    nodes = 20
    pairs = np.array([(a, b) for a in range(nodes) for b in range(a)])
    inside = (pairs[:, 0] < 10) == (pairs[:, 1] < 10)
    xy = layout(pairs, np.where(inside, 1.0, 0.01), nodes)
    length = np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1)
    assert length[inside].max() < length[~inside].min()

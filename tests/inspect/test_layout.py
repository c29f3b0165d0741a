from __future__ import annotations

import numpy as np
import pytest

from structformer.inspect.layout import fit_unit_square, force_layout


def two_cliques(size: int) -> np.ndarray:
    first = np.array([[i, j] for i in range(size) for j in range(size) if i < j])
    return np.concatenate([first, first + size, [[0, size]]]).T


def test_the_same_seed_gives_the_same_places():
    edges = two_cliques(7)
    weight = np.ones(edges.shape[1])
    place = force_layout(14, edges, weight, seed=3)
    np.testing.assert_array_equal(place, force_layout(14, edges, weight, seed=3))
    assert place.min() >= 0
    assert place.max() <= 1


def test_what_is_linked_is_near_and_nothing_overlaps():
    edges = two_cliques(7)
    place = force_layout(14, edges, np.ones(edges.shape[1]))
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
    assert distance[:7, :7].mean() < 0.6 * distance[:7, 7:].mean()
    assert distance[~np.eye(14, dtype=bool)].min() > 0.02


def test_parts_without_edges_stay_on_the_page():
    place = force_layout(5, np.array([[0], [1]]), np.ones(1))
    assert np.isfinite(place).all()
    assert len(np.unique(place.round(3), axis=0)) == 5


def test_a_large_graph_comes_apart_into_its_groups():
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 231)
    target = np.tile(np.arange(693), 4)
    source = generator.integers(0, 231, size=len(target)) + 231 * group[target]
    place = force_layout(693, np.stack([source, target]), generator.random(len(target)))
    middle = np.stack([place[group == number].mean(0) for number in range(3)])
    nearest = np.linalg.norm(place[:, None] - middle[None], axis=-1).argmin(1)
    assert (nearest == group).mean() > 0.95


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_nodes(count):
    place = force_layout(count, np.zeros((2, 0), dtype=np.int64), np.zeros(0))
    assert place.shape == (count, 2)
    assert np.isfinite(place).all()


def test_fit_keeps_proportions():
    place = fit_unit_square(np.array([[0.0, 0.0], [4.0, 2.0]]))
    np.testing.assert_allclose(place, [[0.0, 0.25], [1.0, 0.75]])
    np.testing.assert_allclose(fit_unit_square(np.ones((3, 2))), 0.5)

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect.selection import select


def ring(count: int, ptr: list[int] | None = None) -> TokenGraph:
    node = torch.arange(count)
    boundaries = ptr or [0, count]
    following = node + 1
    for start, end in pairwise(boundaries):
        following[end - 1] = start
    return TokenGraph.from_edge_index(
        torch.stack([following, node]), count, ptr=None if ptr is None else torch.tensor(ptr)
    )


def test_a_small_graph_is_drawn_whole():
    selection = select(ring(11), 11)
    assert selection.targets.tolist() == list(range(11))
    assert selection.note == ""


def test_of_a_large_graph_a_part_with_its_neighbours():
    selection = select(ring(101), 30, token="row")
    chosen = set(selection.targets.tolist())
    assert len(chosen) <= 30
    assert sum((i + 1) % 101 in chosen for i in chosen) >= 10
    assert selection.note.startswith(f"{len(chosen)} of 101 rows drawn")
    np.testing.assert_array_equal(selection.targets, select(ring(101), 30).targets)


def test_of_many_sets_the_first_are_drawn_whole():
    selection = select(ring(29, [0, 7, 12, 29]), 13)
    assert selection.targets.tolist() == list(range(12))
    assert selection.ptr == [0, 7, 12]
    assert selection.note == "The first 2 of 3 sets drawn."


def test_of_very_many_sets_the_first_few():
    selection = select(ring(20, list(range(0, 21, 2))), 100, most_sets=3)
    assert selection.ptr == [0, 2, 4, 6]
    assert selection.note == "The first 3 of 10 sets drawn."


def test_a_first_set_that_is_too_large_is_drawn_in_part():
    selection = select(ring(50, [0, 43, 50]), 13)
    assert len(selection.targets) <= 13
    assert selection.targets.max() < 43
    assert "of 43 tokens of the first set" in selection.note


@pytest.mark.parametrize("most", [400, 20])
def test_sources_of_a_bipartite_graph_are_those_listened_to(most):
    target = torch.arange(23).repeat_interleave(2)
    source = torch.stack([torch.arange(23), torch.arange(23) + 23], 1).flatten()
    weight = torch.tensor([0.9, 0.1]).repeat(23)
    graph = TokenGraph.from_edge_index(torch.stack([source, target]), 23, weight, num_sources=61)
    selection = select(graph, most)
    assert len(selection.targets) + len(selection.sources) <= most
    assert selection.sources.max() < 46
    if most == 20:
        assert set(selection.targets.tolist()) <= set(selection.sources.tolist())
        assert "of 23 tokens drawn" in selection.note

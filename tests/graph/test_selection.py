import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.graph.selection import EDGES_PER_NODE, MOST_COMMUNITIES, select


def test_both_directions_of_a_pair_are_one_line_of_the_greater_weight():
    edges = torch.tensor([[0, 1, 2, 2], [1, 0, 2, 1]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.25, 0.75, 9.0, 0.0]))
    shown = select([graph], None, 10)
    assert shown.steps[0].pairs.tolist() == [[0, 1]], "neither self-loops nor edges of weight zero are drawn"
    assert shown.steps[0].weight.tolist() == [0.75]
    assert shown.tokens.tolist() == [0, 1, 2]
    assert shown.notes == ()


def test_steps_share_their_nodes_and_the_union_has_each_pair_once():
    first = TokenGraph.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, torch.tensor([0.5, 0.1]))
    last = TokenGraph.from_edge_index(torch.tensor([[1, 0], [0, 2]]), 3, torch.tensor([0.9, 0.2]))
    shown = select([first, last], None, 10)
    assert shown.union.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert shown.union.weight.tolist() == pytest.approx([0.9, 0.2, 0.1])


@pytest.mark.parametrize(("large", "drawn"), [("hubs", 4), ("communities", 4)])
def test_a_large_graph_is_cut_to_as_many_nodes_as_are_wanted(random_graph, large: str, drawn: int):
    shown = select([random_graph(23, edges=61)], None, 4, large)
    assert len(shown.sizes) <= drawn
    assert shown.grouped == (large == "communities")
    assert shown.sizes.sum() == len(shown.tokens) <= 23
    assert shown.notes


def test_a_large_graph_without_edges_is_drawn_too():
    graph = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 7)
    for large in ("communities", "hubs"):
        shown = select([graph], None, 3, large)
        assert len(shown.sizes) == 3
        assert shown.steps[0].pairs.shape == (0, 2)
    assert len(select([graph], None, 1_000).sizes) == 7
    empty = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 0)
    assert select([empty], None, 3).sizes.shape == (0,)


def test_never_more_communities_than_can_be_told_apart():
    pairs = torch.arange(200).reshape(2, 100)
    shown = select([TokenGraph.from_edge_index(pairs, 200)], None, 150)
    assert len(shown.sizes) == MOST_COMMUNITIES
    assert shown.notes[0] == f"the {MOST_COMMUNITIES} largest of 100 communities, 80 of 200 tokens"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 60), st.integers(0, 500))
def test_without_a_threshold_the_strongest_lines_are_kept(random_graph, edges: int, seed: int):
    graph = random_graph(8, edges=edges, seed=seed)
    lines = select([graph], None, 300).steps[0]
    everything = select([graph], -1.0, 300).steps[0]
    kept = min(len(everything.pairs), EDGES_PER_NODE * 8)
    assert len(lines.pairs) == kept
    assert np.sort(lines.weight).tolist() == np.sort(everything.weight)[-kept:].tolist() if kept else True
    assert select([graph], 2.0, 300).steps[0].pairs.shape == (0, 2)


def test_a_node_of_weak_edges_alone_keeps_its_strongest():
    # Eighteen nodes all joined strongly, one hanging on two weak edges.
    pairs = torch.tensor([(a, b) for a in range(18) for b in range(a)] + [(18, 3), (18, 5)]).T
    weight = torch.ones(pairs.shape[1])
    weight[-2:] = torch.tensor([1e-4, 1e-3])
    shown = select([TokenGraph.from_edge_index(pairs, 19, weight)], None, 300)
    lines = shown.steps[0].pairs.tolist()
    assert [5, 18] in lines
    assert [3, 18] not in lines
    assert len(lines) == 19 * EDGES_PER_NODE + 1
    assert shown.notes == ("the 114 strongest of 155 edges and each node's strongest",)
    asked = select([TokenGraph.from_edge_index(pairs, 19, weight)], 0.5, 300).steps[0]
    assert asked.pairs.max() < 18, "who asks for a threshold gets it"


def test_sources_of_a_bipartite_graph_are_numbered_after_its_targets():
    graph = TokenGraph.from_edge_index(torch.tensor([[4, 0], [1, 0]]), 2, num_sources=5)
    shown = select([graph], None, 10)
    assert shown.steps[0].pairs.tolist() == [[0, 2], [1, 6]]
    with pytest.raises(ValueError, match=r"max_nodes must be at least 1 \(got 0\)"):
        select([graph], None, 0)

import math

import networkx as nx
import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph


def blocks(seed: int = 0, size: int = 17, count: int = 5) -> tuple[TokenGraph, np.ndarray]:
    """A graph of dense blocks, thinly joined, its tokens shuffled, and the block of each."""
    drawn = nx.planted_partition_graph(count, size, 0.6, 0.02, seed=seed)
    edges = torch.tensor(list(drawn.edges)).T
    place = torch.randperm(size * count, generator=torch.Generator().manual_seed(seed))
    block = torch.empty(size * count, dtype=torch.long)
    block[place] = torch.arange(size * count) // size
    return TokenGraph.from_edge_index(place[edges], size * count), block.numpy()


def test_head_has_the_weights_of_one_head_in_every_step(random_graph, dense):
    few, none = random_graph(heads=2, seed=1), random_graph(seed=2)
    graph = random_graph(heads=3).with_steps([few, none])
    assert graph.weight is not None
    second = graph.head(1)
    assert second.weight is not None
    assert second.weight.tolist() == graph.weight[:, 1].tolist()
    torch.testing.assert_close(dense(second.steps[0]), dense(few.with_weight(few.weight[:, 1])))
    third = graph.head(2)
    torch.testing.assert_close(dense(third.steps[0]), dense(few.with_weight(few.mean_weight())))
    torch.testing.assert_close(dense(third.steps[1]), dense(none))
    with pytest.raises(ValueError, match=r"index must be from 0 to 2, the graph has 3 heads \(got 3\)"):
        graph.head(3)
    with pytest.raises(ValueError, match=r"\(got -1\)"):
        graph.head(-1)
    with pytest.raises(ValueError, match="needs a graph with weights for each head"):
        none.head(0)


def test_hubs_are_listened_to_most():
    edges = torch.tensor([[0, 1, 2, 0, 0, 2], [0, 0, 1, 2, 1, 0]])
    weight = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    graph = TokenGraph.from_edge_index(edges, 3, weight, names=["x", "y", "z"])
    hubs = graph.hubs()
    assert hubs.index.tolist() == [0, 2, 1]
    assert hubs["name"].tolist() == ["x", "z", "y"]
    assert hubs["weight"].tolist() == [7.0, 2.0, 1.0]
    assert hubs["share"].tolist() == [0.7, 0.2, 0.1]
    assert hubs["listeners"].tolist() == [2, 1, 1]
    assert graph.hubs(1)["name"].tolist() == ["x"]
    assert len(graph.hubs(None)) == 3
    with pytest.raises(ValueError, match=r"top must not be negative \(got -1\)"):
        graph.hubs(-1)


def test_hubs_keep_names_that_are_no_text():
    graph = TokenGraph.from_edge_index(torch.tensor([[1], [0]]), 2, names=["a", "b\ud800"])
    assert graph.hubs()["name"].tolist() == ["b\ud800", "a"]


def test_hubs_of_a_bipartite_graph_are_sources(random_graph):
    graph = random_graph(7, 11, 31)
    hubs = graph.hubs(None)
    expected = torch.zeros(11, dtype=torch.float64).index_add(0, graph.col, graph.mean_weight().double())
    np.testing.assert_allclose(hubs["weight"].sort_index(), expected)
    assert hubs["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_communities_are_the_planted_blocks(seed: int):
    graph, block = blocks(seed)
    found = graph.communities(seed=seed)
    assert len({(a, b) for a, b in zip(found.tolist(), block.tolist(), strict=True)}) == 5
    assert found.max() == 4


def test_communities_are_as_good_as_networkx_finds():
    graph = TokenGraph.from_networkx(nx.les_miserables_graph())
    found = graph.communities()
    groups = [set(np.flatnonzero(found == number).tolist()) for number in range(found.max() + 1)]
    drawn = nx.convert_node_labels_to_integers(nx.les_miserables_graph())
    best = nx.community.modularity(drawn, nx.community.louvain_communities(drawn, seed=0))
    assert nx.community.modularity(drawn, groups) > best - 0.02


def test_communities_are_numbered_by_size_and_the_same_for_a_seed():
    graph = TokenGraph.from_networkx(nx.disjoint_union_all([nx.complete_graph(n) for n in (3, 1, 7, 5, 1)]))
    assert graph.communities().tolist() == [2] * 3 + [3] + [0] * 7 + [1] * 5 + [4]
    random, _ = blocks(3, 7, 11)
    first, again = (random.communities(seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    sizes = np.bincount(first)
    assert (np.diff(sizes) <= 0).all()
    assert random.communities(resolution=5.0).max() > first.max()
    with pytest.raises(ValueError, match=r"resolution must be greater than 0 \(got 0.0\)"):
        random.communities(resolution=0.0)


def test_communities_of_a_bipartite_graph_hold_both_sides():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0, 1], [0, 1, 1]]), 2, num_sources=3)
    assert graph.communities().tolist() == [1, 0, 0, 0, 1]


def test_negative_and_zero_weights_join_nobody():
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    graph = TokenGraph.from_edge_index(edges, 4, torch.tensor([1.0, -5.0, 0.0]))
    assert graph.communities().tolist() == [0, 0, 1, 2]


def test_reciprocity_compares_both_directions():
    edges = torch.tensor([[0, 1, 2, 1], [1, 0, 2, 2]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.2, 0.6, 5.0, 0.2]))
    assert graph.reciprocity() == pytest.approx(0.4)
    drawn = nx.gnp_random_graph(13, 0.3, seed=0, directed=True)
    assert TokenGraph.from_networkx(drawn).reciprocity() == pytest.approx(nx.reciprocity(drawn))
    bipartite = TokenGraph.from_edge_index(edges[:, :2], 3, num_sources=5)
    with pytest.raises(ValueError, match="got a bipartite one"):
        bipartite.reciprocity()


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_graphs_without_edges(tokens: int):
    graph = TokenGraph.from_edge_index(torch.empty(2, 0, dtype=torch.long), tokens)
    assert graph.communities().tolist() == list(range(tokens))
    assert graph.hubs()["weight"].tolist() == [0.0] * tokens
    assert math.isnan(graph.reciprocity())


def test_pictures_show_support_where_there_is_any(unchecked):
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3, torch.tensor([0.2, 0.3, 0.5]))
    speaking = graph.with_support(torch.tensor([1.0, 0.0, 0.25]))
    assert graph.by() is graph
    assert speaking.by("weight") is speaking
    assert torch.equal(speaking.by().weight, speaking.support)
    assert torch.equal(speaking.by("support").weight, speaking.support)
    assert speaking.by().support is None
    with pytest.raises(ValueError, match="no support"):
        graph.by("support")
    with pytest.raises(ValueError, match="strength"):
        graph.by("colour")
    # One step without is as good as none: all are shown alike.
    mixed = speaking.with_steps([graph])
    assert mixed.by() is mixed
    steps = speaking.with_steps([speaking.with_support(torch.tensor([0.0, 1.0, 0.0]))]).by().steps
    assert [step.weight.tolist() for step in steps] == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.25]]


def test_support_goes_where_its_edge_goes():
    graph = TokenGraph.from_edge_index(
        torch.tensor([[0, 1, 2], [1, 2, 0]]), 3, torch.tensor([0.2, 0.0, 0.5])
    ).with_support(torch.tensor([0.1, 0.2, 0.3]))
    said = {(int(i), int(j)): float(s) for i, j, s in zip(graph.row, graph.col, graph.support, strict=True)}
    perm = torch.tensor([2, 0, 1])
    moved = graph.permute(perm)
    for i, j, s in zip(moved.row, moved.col, moved.support, strict=True):
        assert said[int(perm[i]), int(perm[j])] == float(s)
    kept = graph.pruned()
    assert len(kept.support) == kept.num_edges == 2
    assert graph.to("cpu").support is not None
    assert graph.with_weight(None).support is None
    frame = graph.to_frame()
    assert frame["support"].tolist() == graph.support.tolist()
    assert "support" not in graph.with_support(None).to_frame()
    assert nx.get_edge_attributes(graph.to_networkx(), "support")[(0, 1)] == pytest.approx(said[1, 0])
    assert torch.equal(graph.to_pyg().edge_support, graph.support)

"""Graphs too large to draw token by token, drawn by community."""

from itertools import pairwise

import matplotlib as mpl
import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from structformer.graph import TokenGraph
from structformer.graph.colours import PALETTE, UNKNOWN
from structformer.graph.selection import MOST_COMMUNITIES, select

mpl.use("Agg")


def cliques(*sizes: int) -> TokenGraph:
    """A chain of cliques, one edge from each to the next."""
    graph = nx.disjoint_union_all([nx.complete_graph(size) for size in sizes])
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    graph.add_edges_from(pairwise(starts))
    return TokenGraph.from_networkx(graph)


def draw(graph: TokenGraph, max_nodes: int = 7):
    return graph.plot(Figure(figsize=(9, 7)).add_subplot(), max_nodes=max_nodes)


def wedges(ax) -> list[PatchCollection]:
    return [item for item in ax.collections if isinstance(item, PatchCollection)]


def radius(path) -> float:
    return float(np.ptp(path.vertices[:, 0]) / 2)


def test_each_community_is_a_disc_whose_area_is_its_size():
    ax = draw(cliques(5, 20, 10))
    discs = [radius(path) for path in wedges(ax)[0].get_paths()]
    areas = np.square(discs)
    np.testing.assert_allclose(areas / areas[0], [1, 0.5, 0.25], rtol=0.01)
    assert ax.get_title().startswith("Shown: 3 communities of 35 tokens\n")
    lines = next(item for item in ax.collections if isinstance(item, LineCollection))
    assert len(lines.get_segments()) == 2


def test_discs_do_not_overlap():
    ax = draw(cliques(*[7, 3, 11, 5, 13] * 3))
    paths = wedges(ax)[0].get_paths()
    middles = np.array([(path.vertices.max(0) + path.vertices.min(0)) / 2 for path in paths])
    radii = np.array([radius(path) for path in paths])
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart > radii[:, None] + radii[None]).all()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) > 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_pies_and_captions_say_what_labels_are_in_a_community():
    graph = cliques(8, 4)
    graph.labels = ["a"] * 6 + ["b"] * 2 + [None] * 4
    ax = draw(graph)
    colors = [to_hex(item.get_facecolor()[0]).upper() for item in wedges(ax)]
    assert colors == [PALETTE[0], PALETTE[1], UNKNOWN]
    assert [len(item.get_paths()) for item in wedges(ax)] == [1, 1, 1]
    assert [text.get_text() for text in ax.texts] == ["a: 75% · 8", "unlabelled · 4"]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["unlabelled", "a", "b"]


def test_rare_classes_share_a_colour_and_captions_still_name_them():
    graph = TokenGraph.from_networkx(nx.disjoint_union(nx.complete_graph(30), nx.complete_graph(4)))
    graph.labels = [i % 10 for i in range(30)] + [11] * 4
    ax = draw(graph)
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_texts()[-1].get_text() == "4 other classes"
    assert "11: 100% · 4" in [text.get_text() for text in ax.texts]


def test_a_scale_colours_communities_by_their_mean():
    graph = cliques(8, 4)
    graph.labels = np.arange(12) / 4
    ax = draw(graph)
    assert [text.get_text() for text in ax.texts] == ["mean 0.875 · 8", "mean 2.38 · 4"]
    first, second = wedges(ax)[0].get_facecolor()
    assert first[0] < second[0]
    assert len(ax.figure.axes) == 2


def test_without_labels_communities_are_named_after_their_hubs():
    graph = cliques(8, 4)
    assert [text.get_text() for text in draw(graph).texts] == ["around 0 · 8", "around 8 · 4"]
    graph.names = None
    assert [text.get_text() for text in draw(graph).texts] == ["8", "4"]


def test_lines_are_total_weights_in_both_directions():
    edges = torch.tensor([[0, 1, 2, 3, 0, 2, 1], [1, 0, 3, 2, 2, 0, 3]])
    weight = torch.tensor([9.0, 9.0, 9.0, 9.0, 0.5, 0.25, 1.0])
    graph = TokenGraph.from_edge_index(edges, 4, weight)
    shown = select([graph], None, 3)
    assert shown.node.tolist() == [0, 0, 1, 1]
    assert shown.steps[0].pairs.tolist() == [[0, 1]]
    assert shown.steps[0].weight.tolist() == [1.75]
    assert select([graph], 2.0, 3).steps[0].weight.tolist() == []


def test_what_is_left_out_is_said():
    parts = [nx.complete_graph(8), nx.complete_graph(4), nx.empty_graph(6)]
    alone = TokenGraph.from_networkx(nx.disjoint_union_all(parts))
    assert "2 communities, 12 of 18 tokens" in draw(alone).get_title()
    many = TokenGraph.from_networkx(nx.disjoint_union_all([nx.complete_graph(3)] * (MOST_COMMUNITIES + 3)))
    assert "the 7 largest of 43 communities, 21 of 129 tokens" in draw(many).get_title()
    assert "the 40 largest of 43 communities, 120 of 129 tokens" in draw(many, 100).get_title()


def test_steps_have_the_communities_of_all_together():
    graph = cliques(8, 4).with_steps([cliques(6, 6)])
    axes = graph.plot_steps(max_nodes=7)
    assert len({len(wedges(ax)[0].get_paths()) for ax in axes}) == 1
    assert axes[0].figure.get_suptitle().startswith("Shown: 2 communities of 12 tokens")


@pytest.mark.parametrize("large", ["communities", "hubs"])
def test_large_graphs_without_edges(large):
    graph = TokenGraph.from_edge_index(torch.empty(2, 0, dtype=torch.long), 11)
    ax = graph.plot(Figure().add_subplot(), max_nodes=5, large=large)
    assert "of 11" in ax.get_title()


def test_both_sides_of_a_bipartite_graph_are_in_a_community():
    edges = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])
    graph = TokenGraph.from_edge_index(edges, 2, num_sources=5, names=["x", "y"])
    graph.source_names, graph.source_labels = list("pqrst"), ["a", "a", "b", "b", "a"]
    ax = draw(graph, 3)
    assert ax.get_title().startswith("Shown: 2 communities, 6 of 7 tokens")
    assert [text.get_text() for text in ax.texts] == ["a: 67% · 3", "b: 67% · 3"]

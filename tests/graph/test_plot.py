import matplotlib as mpl
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from structformer.graph import TokenGraph
from structformer.graph.colours import PALETTE, UNKNOWN
from structformer.graph.selection import select

mpl.use("Agg")


def new_axes():
    return Figure().add_subplot()


def ring(tokens: int) -> TokenGraph:
    return TokenGraph.from_networkx(nx.cycle_graph(tokens))


def lines(ax) -> LineCollection:
    return next(item for item in ax.collections if isinstance(item, LineCollection))


def points(ax) -> list[PathCollection]:
    return [item for item in ax.collections if isinstance(item, PathCollection)]


def test_both_directions_are_one_line_and_self_loops_none():
    edges = torch.tensor([[0, 1, 2, 1], [1, 0, 2, 2]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.2, 0.9, 5.0, 0.1]))
    drawn = lines(graph.plot(new_axes()))
    assert len(drawn.get_segments()) == 2
    alpha = np.asarray(drawn.get_colors())[:, 3]
    assert alpha[0] < alpha[1], "the stronger edge is drawn last and darker"


def test_given_axes_leave_pyplot_alone():
    before = plt.get_fignums()
    ax = new_axes()
    assert ring(7).plot(ax) is ax
    assert plt.get_fignums() == before


def test_without_axes_a_figure_is_made():
    ax = ring(7).plot()
    assert ax.figure.number in plt.get_fignums()
    plt.close(ax.figure)


def test_a_figure_of_its_own_is_as_high_as_what_it_shows():
    path = TokenGraph.from_networkx(nx.path_graph(9))
    across, round_ = path.plot().figure, ring(9).plot().figure
    assert across.get_figheight() < 0.6 * round_.get_figheight()
    assert across.get_figwidth() == round_.get_figwidth()
    plt.close("all")


def test_names_only_where_there_is_room():
    assert [text.get_text() for text in ring(5).plot(new_axes()).texts] == ["0", "1", "2", "3", "4"]
    assert len(ring(150).plot(new_axes()).texts) <= 60
    wordy = TokenGraph.from_networkx(nx.complete_graph(23))
    wordy.names = [f"the token of a long name {i}" for i in range(23)]
    ax = wordy.plot(new_axes())
    assert 0 < len(ax.texts) < 23
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_labels_colour_the_nodes_and_fill_the_legend():
    graph = ring(5)
    graph.labels = ["b", "a", "b", None, "a"]
    ax = graph.plot(new_axes())
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["unlabelled", "a", "b"]
    colors = [to_hex(item.get_facecolor()[0]).upper() for item in points(ax)]
    assert colors == [UNKNOWN, PALETTE[0], PALETTE[1]]
    assert [len(item.get_offsets()) for item in points(ax)] == [1, 2, 2]
    with pytest.raises(ValueError, match="labels must hold 5 labels"):
        graph.plot(new_axes(), labels=[1, 2])


def test_more_classes_than_colours_differ_in_marker():
    ax = ring(17).plot(new_axes(), labels=[i % 11 for i in range(17)])
    looks = {(to_hex(p.get_facecolor()[0]), len(p.get_paths()[0].vertices)) for p in points(ax)}
    assert len(looks) == 11


def test_continuous_labels_get_a_colour_bar():
    ax = ring(13).plot(new_axes(), labels=torch.linspace(0, 1, 13))
    assert ax.get_legend() is None
    assert len(ax.figure.axes) == 2


@pytest.mark.usefixtures("unchecked")
def test_large_graphs_are_cut_to_their_best_connected_tokens_and_say_so():
    star = TokenGraph.from_networkx(nx.star_graph(22))
    ax = star.plot(new_axes(), max_nodes=5, large="hubs")
    assert sum(len(item.get_offsets()) for item in points(ax)) == 5
    assert ax.get_title() == "Shown: the 5 best-connected of 23 tokens"
    assert "0" in [text.get_text() for text in ax.texts]
    with pytest.raises(ValueError, match=r"max_nodes must be at least 1 \(got 0\)"):
        star.plot(new_axes(), max_nodes=0)
    with pytest.raises(ValueError, match=r"large must be .communities. or .hubs. \(got 'all'\)"):
        select([star], None, 300, "all")  # pyright: ignore[reportArgumentType]


def test_only_strong_edges_are_drawn():
    complete = TokenGraph.from_networkx(nx.complete_graph(17))
    ax = complete.plot(new_axes())
    assert len(lines(ax).get_segments()) == 6 * 17
    assert ax.get_title() == "Shown: the 102 strongest of 136 edges"
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    graph = TokenGraph.from_edge_index(edges, 5, torch.tensor([0.1, 0.5, 0.9]))
    assert len(lines(graph.plot(new_axes(), threshold=0.5)).get_segments()) == 2
    assert graph.plot(new_axes()).get_title() == ""


def test_the_same_seed_gives_the_same_picture():
    graph = TokenGraph.from_networkx(nx.barabasi_albert_graph(113, 2, seed=0))
    places = [points(graph.plot(new_axes(), seed=3))[0].get_offsets() for _ in range(2)]
    np.testing.assert_array_equal(*places)
    assert np.isfinite(places[0]).all()


def test_parts_do_not_overlap():
    graph = TokenGraph.from_networkx(nx.disjoint_union(nx.complete_graph(11), nx.complete_graph(7)))
    offsets = np.asarray(points(graph.plot(new_axes()))[0].get_offsets())
    first, second = offsets[:11], offsets[11:]
    apart = np.linalg.norm(first.mean(0) - second.mean(0))
    reach = sum(np.linalg.norm(part - part.mean(0), axis=1).max() for part in (first, second))
    assert apart > reach


def test_bipartite_sources_are_smaller_and_named():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0], [0, 1]]), 2, num_sources=3, names=["x", "y"])
    graph.source_names = ["p", "q", "r"]
    ax = graph.plot(new_axes())
    assert [text.get_text() for text in ax.texts] == ["x", "y", "p", "q", "r"]
    sizes = points(ax)[0].get_sizes()
    assert sizes[0] == sizes[1] > sizes[2] == sizes[4]


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_graphs_without_edges(tokens: int):
    graph = TokenGraph.from_edge_index(torch.empty(2, 0, dtype=torch.long), tokens)
    ax = graph.plot(new_axes())
    assert sum(len(item.get_offsets()) for item in points(ax)) == tokens


def test_lines_are_drawn_only_where_something_is_heard():
    edges = torch.tensor([[0, 1], [1, 2]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.0, 0.5]))
    assert len(lines(graph.plot(new_axes())).get_segments()) == 1


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_paper_is_white_and_ink_readable_under_every_style(style: str):
    with plt.style.context(style):
        ax = TokenGraph.from_networkx(nx.complete_graph(17)).plot()
        figure = plt.figure()
        given = TokenGraph.from_networkx(nx.complete_graph(17)).plot(figure.add_subplot())
    assert to_hex(ax.figure.get_facecolor()) == "#ffffff"
    assert to_hex(ax.title.get_color()) == "#30343b"
    assert given.patch.get_visible()
    assert given.axison
    assert to_hex(given.get_facecolor()) == "#ffffff"
    assert to_hex(given.title.get_color()) == ("#30343b" if style == "default" else "#e4e7eb")
    plt.close(ax.figure)
    plt.close(figure)


def test_names_and_labels_are_taken_literally():
    graph = ring(3)
    graph.names, graph.labels = ["$\\frac$", "a $ b", "two\nlines"], ["_hidden", "$x_", "c"]
    ax = graph.plot(new_axes())
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.texts] == ["$\\frac$", "a $ b", "two lines"]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["$x_", "_hidden", "c"]


def test_steps_share_places_and_the_meaning_of_a_line():
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    strong = TokenGraph.from_edge_index(edges, 5, torch.tensor([0.2, 0.6, 1.0]))
    weak = TokenGraph.from_edge_index(edges[:, :2], 5, torch.tensor([0.2, 0.4]))
    axes = strong.with_steps([weak, weak]).plot_steps(labels=list("aabbb"), columns=2)
    assert [ax.get_title() for ax in axes] == ["step 1: 2 lines", "step 2: 2 lines", "step 3: 3 lines"]
    places = [np.concatenate([p.get_offsets() for p in points(ax)]) for ax in axes]
    np.testing.assert_array_equal(places[0], places[2])
    assert lines(axes[0]).get_linewidths()[0] == lines(axes[2]).get_linewidths()[0]
    assert max(lines(axes[0]).get_linewidths()) < max(lines(axes[2]).get_linewidths())
    figure = axes[0].figure
    assert len(figure.axes) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    plt.close(figure)
    with pytest.raises(ValueError, match=r"columns must be at least 1 \(got 0\)"):
        strong.plot_steps(columns=0)

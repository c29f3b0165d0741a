import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from structformer.graph import TokenGraph
from structformer.graph.colours import PALETTE, UNKNOWN, Colouring, colouring
from structformer.graph.legend import MARKERS, explain, look
from structformer.graph.selection import select


def explained(labels, max_nodes=300):
    graph = TokenGraph.from_edge_index(torch.arange(len(labels)).unfold(0, 2, 1).T, len(labels))
    figure = Figure()
    ax = figure.add_subplot()
    colours = colouring(graph, labels)
    shown = select([graph], None, max_nodes)
    explain(ax, ax, shown, colours, "black", own=False, places=np.zeros((len(shown.sizes), 2)))
    legend = ax.get_legend()
    return figure, [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_every_class_has_a_look_of_its_own_as_long_as_there_are_any():
    colours = Colouring(np.arange(3), ("a", "b", "c"))
    looks = [look(code, colours) for code in range(len(PALETTE) * len(MARKERS))]
    assert len(set(looks)) == len(looks)
    assert look(-1, colours) == (UNKNOWN, "o")
    assert look(-1, Colouring(np.full(3, -1), ())) == (PALETTE[0], "o")


def test_classes_that_are_drawn_are_named_as_they_are():
    _, texts = explained(["_hidden", "$x$", None, "x" * 40])
    assert texts == ["unlabelled", "$x$", "_hidden", f"{'x' * 27}…"]


@pytest.mark.parametrize("labels", [[None] * 4, [f"class {i:02}" for i in range(43)]])
def test_nothing_is_explained_where_there_is_nothing_or_too_much_to_say(labels):
    figure, texts = explained(labels)
    assert texts == []
    assert len(figure.axes) == 1


def test_numbers_on_a_scale_have_a_bar_with_their_limits():
    figure, texts = explained([0.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0, float("nan")])
    assert texts == []
    bar = figure.axes[1]
    assert bar.get_ylim() == (0, 10)
    assert bar.get_ylabel() == "label"


def test_communities_show_the_commonest_classes_in_their_colours():
    labels = [f"class {min(i, 9)}" for i in range(30)]
    figure, texts = explained(labels, max_nodes=5)
    assert texts[-1] == "3 other classes"
    handles = figure.axes[0].get_legend().legend_handles
    assert [to_hex(handle.get_color()).upper() for handle in handles][:2] == list(PALETTE[:2])


def test_a_legend_inside_given_axes_covers_no_node():
    blocks = nx.caveman_graph(12, 12)
    graph = TokenGraph.from_networkx(blocks)
    labels = [f"block {node // 12}" for node in blocks]
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots(1, 2)
    for ax in axes:
        graph.plot(ax, labels=labels)
    figure.draw_without_rendering()
    for ax in axes:
        box = ax.get_legend().get_window_extent()
        nodes = [item for item in ax.collections if isinstance(item, PathCollection)]
        places = ax.transData.transform(np.concatenate([item.get_offsets() for item in nodes]))
        assert len(places) == 144
        assert not ((places >= box.min) & (places <= box.max)).all(1).any()
        assert box.x1 <= ax.bbox.x1

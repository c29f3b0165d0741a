import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.graph.colours import OTHERS, PALETTE, Colouring, colouring, shorten


def path(tokens: int) -> TokenGraph:
    return TokenGraph.from_edge_index(torch.arange(tokens).unfold(0, 2, 1).T, tokens)


def test_floats_of_many_values_make_a_scale_and_few_make_classes():
    few = colouring(path(9), [0.5, 1.5, None] * 3)
    assert few.values is None
    assert few.classes == ("0.5", "1.5")
    many = colouring(path(9), [*np.linspace(-1, 1, 8), float("nan")])
    assert many.limits == (-1, 1)
    assert np.isnan(many.values[-1])
    assert many.share(many.values)[:8].tolist() == pytest.approx(np.linspace(0, 1, 8).tolist())


@pytest.mark.parametrize(("count", "scale"), [(30, False), (31, True)])
def test_whole_numbers_are_classes_until_there_are_too_many_of_them(count: int, scale: bool):
    assert (colouring(path(40), [i % count for i in range(40)]).values is not None) == scale


def test_truth_values_and_infinity_do_not_break_a_scale():
    assert colouring(path(3), [True, False, None]).classes == ("False", "True")
    found = colouring(path(9), [*map(float, range(8)), float("inf")])
    assert found.limits == (0, 7)
    flat = Colouring(np.zeros(2, int), ("5",), np.array([5.0, 5.0]))
    assert flat.share(np.array([5.0, 5.0])).tolist() == [0, 0]


def test_the_rarest_classes_share_one_colour_and_the_unknown_stay_unknown():
    codes = np.repeat([0, 1, 2, 3, -1], [1, 4, 3, 1, 2])
    few = Colouring(codes, ("a", "b", "c", "d")).commonest(2)
    assert few.classes == ("b", "c", "2 other classes")
    assert few.codes.tolist() == [2, *[0] * 4, *[1] * 3, 2, -1, -1]
    assert few.commonest(3) is few
    assert len(Colouring(codes, ("a",) * 9).commonest().palette()) == len(PALETTE) + 1
    assert Colouring(codes, ("a",) * 9).commonest().palette()[-1] == OTHERS


def test_both_sides_of_a_bipartite_graph_are_coloured_alike():
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 2], [0, 1]]), 2, num_sources=3)
    assert not colouring(graph).labelled
    graph.labels, graph.source_labels = ["x", "y"], ["y", None, "x"]
    assert colouring(graph).codes.tolist() == [0, 1, 1, -1, 0]
    graph.source_labels = ["y"]
    with pytest.raises(ValueError, match=r"source_labels must hold 3 labels"):
        colouring(graph)


def test_long_names_are_cut_on_one_line():
    assert shorten("a\n b\t c") == "a b c"
    assert shorten("word " * 9, 10) == "word word…"
    assert len(shorten("x" * 50)) == 28

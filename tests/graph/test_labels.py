import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.graph.labels import label_codes

# An array of floats has no integers, so that −1 among NaN is a number like any other.
UNKNOWN = st.sampled_from([None, float("nan")])
LABELS = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-2, 3), st.text(max_size=1)), max_size=12),
    st.lists(st.one_of(UNKNOWN, st.text(max_size=1)), max_size=12),
)


def test_homophily_counts_weight_and_leaves_self_loops_and_unknown_out():
    edges = torch.tensor([[0, 1, 2, 2, 3], [0, 0, 0, 1, 2]])
    graph = TokenGraph.from_edge_index(edges, 4, torch.tensor([100.0, 3.0, 1.0, 4.0, 50.0]))
    assert graph.homophily(["a", "a", "b", None]) == pytest.approx(3 / 8)
    assert graph.homophily(torch.tensor([0, 0, 1, -1])) == pytest.approx(3 / 8)
    assert graph.homophily(np.array([1.0, 1.0, 0.0, np.nan])) == pytest.approx(3 / 8)
    assert graph.homophily(pd.Series(["a", "a", "b", None], index=[9, 4, 7, 2])) == pytest.approx(3 / 8)
    with pytest.raises(ValueError, match="labels must be given"):
        graph.homophily()
    with pytest.raises(
        ValueError, match=r"labels must hold 4 labels, one for each token \(got shape \[3\]\)"
    ):
        graph.homophily([0, 1, 2])


def test_homophily_of_a_bipartite_graph_codes_both_sides_alike():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0, 1], [0, 1, 1]]), 2, num_sources=3)
    assert graph.homophily(["z", "a"], ["m", "a", "z"]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="source_labels must be given"):
        graph.homophily(["z", "a"])
    with pytest.raises(ValueError, match="must hold 2 and 3 labels"):
        graph.homophily(["z", "a"], ["m", "a"])


def test_unknown_labels_stay_unknown_beside_numbers_and_texts_of_the_other_side():
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 1, 2], [0, 1, 1]]), 2, num_sources=3)
    assert graph.homophily(torch.tensor([-1, 0]), np.array([-1.0, 0.0, 1.0])) == 0.5
    assert np.isnan(graph.homophily([-1, "a"], ["-1", None, None]))


@given(LABELS, st.randoms(use_true_random=False))
def test_codes_follow_their_labels_into_any_order(labels, random):
    codes, classes = label_codes(labels, len(labels))
    for label, code in zip(labels, codes.tolist(), strict=True):
        unknown = label is None or label != label or (isinstance(label, int) and label < 0)
        assert (code == -1) == unknown
        assert unknown or classes[code] == label
    assert sorted(set(codes.tolist()) - {-1}) == list(range(len(classes)))
    perm = random.sample(range(len(labels)), len(labels))
    again, same = label_codes([labels[i] for i in perm], len(labels))
    assert again.tolist() == codes[perm].tolist()
    assert same == classes


def test_labels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"truth must hold 3 labels, one for each token \(got shape \[2\]\)"):
        label_codes([0, 1], 3, "truth")
    with pytest.raises(ValueError, match=r"got shape \[3, 1\]"):
        label_codes(np.zeros((3, 1)), 3)
    assert label_codes([], 0)[1] == []

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import edge_agreement
from structformer.inspect.planted import BEDS, planted_blocks, planted_columns, planted_manifold, planted_tree

beds = pytest.mark.parametrize("name", BEDS)


def linked(graph):
    return graph.to_scipy().toarray() > 0


@beds
def test_a_seed_gives_the_same_data_and_another_gives_others(name):
    one, same, other = BEDS[name](0), BEDS[name](0), BEDS[name](1)
    assert one.kind == name
    assert one.frame.equals(same.frame)
    assert torch.equal(one.truth.col, same.truth.col)
    assert not one.frame.equals(other.frame)


@beds
def test_the_truth_is_symmetric_and_named_like_its_tokens(name):
    planted = BEDS[name](0)
    true = linked(planted.truth)
    assert (true == true.T).all()
    assert not true.diagonal().any()
    names = planted.frame.columns if name == "columns" else planted.frame.index
    assert planted.truth.names == list(names)
    assert np.isfinite(planted.frame.to_numpy()).all()
    assert planted.nodes.x.shape == planted.frame.shape


def test_blocks_are_cliques_of_one_class():
    planted = planted_blocks(3, blocks=4, size=5)
    assert (
        linked(planted.truth) == (planted.labels[:, None] == planted.labels) & ~np.eye(20, dtype=bool)
    ).all()
    assert sorted(np.bincount(planted.labels)) == [5] * 4


def test_a_manifold_joins_each_row_to_enough_others():
    planted = planted_manifold(3, rows=97, near=5)
    assert (linked(planted.truth).sum(1) >= 5).all()
    assert set(planted.labels) == {0, 1, 2, 3}


def test_a_tree_has_one_edge_less_than_rows_and_no_loose_part():
    planted = planted_tree(3, rows=53)
    assert planted.truth.num_edges == 2 * 52
    reached = np.linalg.matrix_power(linked(planted.truth).astype(float) + np.eye(53), 53) > 0
    assert reached.all()


def test_columns_that_are_linked_correlate_as_told():
    planted = planted_columns(3, rows=20_000, columns=9, family=3, strength=0.8)
    correlation = np.abs(np.corrcoef(planted.frame.to_numpy().T))
    true = linked(planted.truth)
    assert true.sum() == 2 * 6
    np.testing.assert_allclose(correlation[true], 0.8, atol=0.02)
    apart = ~true & ~np.eye(9, dtype=bool)
    assert correlation[apart].max() < 0.67  # through one between them: 0.64


@beds
def test_what_rows_hold_tells_the_graph(name):
    """The bed is no riddle: likeness of what tokens hold, seen whole, ranks true pairs high."""
    planted = BEDS[name](0)
    x = planted.frame.to_numpy()
    x = x.T if name == "columns" else x - x.mean(0)
    likeness = np.abs(np.corrcoef(x)) if name == "columns" else np.corrcoef(x)
    index = torch.combinations(torch.arange(len(x))).T
    weight = torch.from_numpy(likeness - likeness.min() + 1e-6)[index[0], index[1]]
    graph = TokenGraph.from_edge_index(index, len(x), weight)
    assert edge_agreement(graph, planted.truth).roc_auc.item() > 0.95

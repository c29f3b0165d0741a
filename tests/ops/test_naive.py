"""The readable twins against what is known without them: closed forms, constraints, dense functions of torch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import naive

ROWPTR = torch.tensor([0, 3, 3, 4, 9])
INFINITE = float("-inf")


def scores(heads: int = 0, seed: int = 0) -> torch.Tensor:
    shape = (9, heads) if heads else (9,)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rows_are_summed_maximised_and_spread():
    x = torch.arange(9.0).reshape(9, 1) - 4
    assert naive.segment_sum(x, ROWPTR).T.tolist() == [[-9, 0, -1, 10]]
    assert naive.segment_max(x, ROWPTR).T.tolist() == [[-2, 0, -1, 4]]
    assert naive.gather(torch.tensor([1.0, 2, 3, 4]), ROWPTR).tolist() == [1, 1, 1, 3, 4, 4, 4, 4, 4]


def test_softmax_is_that_of_torch_row_by_row():
    x = scores()
    found = naive.segment_softmax(x, ROWPTR)
    torch.testing.assert_close(found, torch.cat([x[:3].softmax(0), torch.ones(1).double(), x[4:].softmax(0)]))


def test_sparsemax_and_entmax_of_two_scores_are_known():
    two = torch.tensor([0, 2])
    found = naive.segment_sparsemax(torch.tensor([0.5, 0.0], dtype=torch.float64), two)
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25], dtype=torch.float64))
    assert naive.segment_sparsemax(torch.tensor([1.0, 0.0]), two).tolist() == [1, 0]
    # With z = x / 2 and p = (z − τ)²: (a − τ)² + (b − τ)² = 1.
    weights = naive.segment_entmax(torch.tensor([1.0, 0.0], dtype=torch.float64), two)
    tau = (0.5 - (2 - 0.25) ** 0.5) / 2
    expected = torch.tensor([(0.5 - tau) ** 2, tau**2], dtype=torch.float64)
    torch.testing.assert_close(weights, expected)


@settings(deadline=None, max_examples=7)
@given(st.floats(1.05, 4), st.integers(0, 500))
def test_weights_of_a_row_sum_to_one_and_move_with_their_scores(alpha: float, seed: int):
    x, perm = scores(2, seed) * 3, torch.tensor([2, 0, 1, 3, 8, 4, 6, 5, 7])
    found = naive.segment_entmax(x, ROWPTR, torch.tensor([alpha, 1.5]))
    assert (found >= 0).all()
    sums = naive.segment_sum(found, ROWPTR)
    torch.testing.assert_close(sums, torch.tensor([1.0, 0, 1, 1]).double()[:, None].expand(4, 2))
    torch.testing.assert_close(naive.segment_entmax(x + 7, ROWPTR, torch.tensor([alpha, 1.5])), found)
    moved = naive.segment_entmax(x[perm], ROWPTR, torch.tensor([alpha, 1.5]))
    torch.testing.assert_close(moved, found[perm])


def test_what_takes_no_part_weighs_nothing_even_in_a_row_of_its_own():
    x = scores()
    x[[1, 3]] = INFINITE
    for weigh in (naive.segment_softmax, naive.segment_sparsemax, naive.segment_entmax):
        found = weigh(x, ROWPTR)
        assert found[[1, 3]].tolist() == [0, 0]
        assert found[:3].sum() == pytest.approx(1)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.5, 2.0])
def test_gradients_are_those_of_differences(alpha: float):
    x = scores().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: naive.segment_entmax(x, ROWPTR, alpha), x)


def test_attention_along_all_edges_is_dense_attention():
    query, key, value = (torch.randn(5, 2, n, dtype=torch.float64) for n in (3, 3, 4))
    everyone = torch.cartesian_prod(torch.arange(5), torch.arange(5)).T
    graph = TokenGraph.from_edge_index(everyone, 5)
    dense = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(0, 1) for x in (query, key, value))
    )
    torch.testing.assert_close(naive.sparse_attention(query, key, value, graph), dense.transpose(0, 1))
    weights = naive.segment_softmax(naive.edge_dot(query, key, graph) / 3**0.5, graph.rowptr)
    torch.testing.assert_close(naive.edge_sum(weights, value, graph), dense.transpose(0, 1))


def test_neighbours_are_the_nearest_that_are_allowed():
    line = torch.tensor([[1.0], [2.0], [3.0], [-1.0]])
    ptr = torch.tensor([0, 3, 4])

    def edges(**options):
        graph = naive.neighbors(line, line, 1, ptr, **options)
        return list(zip(graph.row.tolist(), graph.col.tolist(), strict=True))

    assert edges() == [(0, 2), (1, 2), (2, 2), (3, 3)]
    assert edges(exclude_self=True) == [(0, 2), (1, 2), (2, 1)]
    assert edges(causal=True, exclude_self=True) == [(1, 0), (2, 1)]
    assert edges(include_self=True) == [(0, 0), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (3, 3)]


def test_of_equal_neighbours_given_ones_and_then_the_first_are_taken():
    same = torch.ones(4, 1)
    assert naive.neighbors(same, same, 2).col.tolist() == [0, 1] * 4
    given_edges = TokenGraph.from_edge_index(torch.tensor([[3], [0]]), 4)
    found = naive.neighbors(same, same, 2, given=given_edges)
    assert found.col[found.row == 0].tolist() == [0, 3]
    assert found.given.tolist() == [False, True, *[False] * 6]

"""The compiled kernels as they are called; tests/ops/test_fused_operator.py has their gradients and every build."""

import pytest
import torch

from structformer.graph import TokenGraph
from structformer.ops import compiled, fused_kernels, naive

pytestmark = pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
HEADS = 3


@pytest.fixture
def graph(random_graph) -> TokenGraph:
    return random_graph(11, 7, 31)


def strided(tokens: int, channels: int, dtype=torch.float64) -> torch.Tensor:
    """Numbers whose rows lie apart, as in one of three parts of a projection."""
    return torch.randn(tokens, 3, HEADS, channels, dtype=dtype)[:, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_rows_apart_and_indices_of_either_size_give_what_the_twins_give(graph, dtype, index):
    query, key, value = strided(11, 5, dtype), strided(7, 5, dtype), strided(7, 4, dtype)
    rowptr, col = graph.rowptr.to(index), graph.col.to(index)
    found = fused_kernels.scores(query, key, rowptr, col, 0.5)
    torch.testing.assert_close(found, 0.5 * naive.edge_dot(query, key, graph))
    weights = torch.rand(graph.num_edges, HEADS, dtype=dtype)
    out = fused_kernels.sums(weights.T.contiguous().T, value, rowptr, col, 2.0)
    torch.testing.assert_close(out, 2 * naive.edge_sum(weights, value, graph))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("columns", [0, 1, HEADS])
def test_attention_returns_what_is_heard_and_the_weights(graph, alpha: float, columns: int):
    query, key, value = strided(11, 5), strided(7, 5), strided(7, 4)
    bias = torch.randn(graph.num_edges, columns, dtype=torch.float64) if columns else None
    out, weights = fused_kernels.attend(
        query, key, value, bias, graph.rowptr, graph.col, [], 0.3, alpha, 0.0, 0
    )
    scores = 0.3 * naive.edge_dot(query, key, graph) + (0 if bias is None else bias)
    expected = naive.segment_entmax(scores, graph.rowptr, alpha)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(out, naive.edge_sum(expected, value, graph))


def test_a_graph_without_edges_and_one_without_tokens_say_nothing():
    for targets in (0, 4):
        rowptr, none = torch.zeros(targets + 1, dtype=torch.long), torch.zeros(0, dtype=torch.long)
        query, key = torch.randn(targets, HEADS, 5), torch.randn(7, HEADS, 5)
        assert fused_kernels.scores(query, key, rowptr, none).shape == (0, HEADS)
        out, _ = fused_kernels.attend(query, key, key, None, rowptr, none, [], 1.0, 1.0, 0.0, 0)
        assert torch.equal(out, torch.zeros(targets, HEADS, 5))


def test_dropout_is_decided_by_the_seed_and_keeps_the_mean():
    like = torch.zeros(4_001, HEADS)
    factors = fused_kernels.dropout_factors(like, 0.25, 7)
    assert torch.equal(fused_kernels.dropout_factors(like, 0.25, 7), factors)
    assert not torch.equal(fused_kernels.dropout_factors(like, 0.25, 8), factors)
    assert factors.unique().tolist() == [0, pytest.approx(1 / 0.75)]
    assert float(factors.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(fused_kernels.dropout_factors(like[:0], 0.25, 7), like[:0])


def test_only_what_lies_scattered_is_copied():
    whole = torch.randn(5, 3, HEADS, 4)
    assert fused_kernels.rows_of(whole[:, 1]).data_ptr() == whole[:, 1].data_ptr()
    for scattered in (whole[:, 1, :, ::2], whole[:, 1].transpose(0, 1), whole[:1, 1].expand(5, HEADS, 4)):
        copied = fused_kernels.rows_of(scattered)
        assert copied.is_contiguous()
        assert torch.equal(copied, scattered)

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from structformer.graph import TokenGraph
from structformer.ops import edge_sum, edge_weights, naive, normalize_rows, sparse_attention
from structformer.ops.operator import attention
from structformer.ops.paths import csr_available

PATHS = pytest.mark.parametrize("path", ["csr", "gather"] if csr_available() else ["gather"])
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 13, 11, 3, 5, 7


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def graph(edges=47):
    index = torch.stack([torch.randint(SOURCES, (edges,)), torch.randint(TARGETS, (edges,))])
    return TokenGraph.from_edge_index(index, TARGETS, num_sources=SOURCES)


def inputs(dtype=torch.float64):
    return (
        random(TARGETS, HEADS, CHANNELS, dtype=dtype),
        random(SOURCES, HEADS, CHANNELS, dtype=dtype),
        random(SOURCES, HEADS, VALUES, dtype=dtype),
    )


@PATHS
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7, 2.0])
def test_the_operator_keeps_torchs_contract(path, alpha):
    g = graph()
    query, key, value = (
        x.detach().transpose(0, 1).contiguous().requires_grad_() for x in inputs(torch.float32)
    )
    bias = random(HEADS, g.num_edges, dtype=torch.float32)
    kept = torch.rand(HEADS, g.num_edges) < 0.7
    pattern = *g.compact, list(g.compact_transpose)
    arguments = query, key, value, bias, kept, *pattern, 0.4, alpha, 0.3, path
    torch.library.opcheck(attention, arguments)


@PATHS
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "entmax15"])
@pytest.mark.parametrize("bias_heads", [1, HEADS])
def test_weights_alone_and_their_gradient(path, normalizer, bias_heads):
    g = graph()
    (query, key, _), bias = inputs(), random(g.num_edges, bias_heads)
    weights = edge_weights(query, key, g, bias, normalizer, scale=0.7, path=path)
    expected = normalize_rows(0.7 * naive.edge_dot(query, key, g) + bias, g.rowptr, normalizer)
    torch.testing.assert_close(weights, expected)
    upstream = torch.randn_like(weights)
    found = torch.autograd.grad(weights, (query, key, bias), upstream)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (query, key, bias), upstream))


@PATHS
def test_gradients_of_outputs_and_weights_add_up(path):
    g, tensors = graph(), inputs()
    out, weights = sparse_attention(*tensors, g, return_weights=True, path=path)
    a, b = torch.randn_like(out), torch.randn_like(weights)
    both = torch.autograd.grad((out * a).sum() + (weights * b).sum(), tensors)
    out, weights = sparse_attention(*tensors, g, return_weights=True, path=path)
    first = torch.autograd.grad((out * a).sum(), tensors, retain_graph=True)
    second = torch.autograd.grad((weights * b).sum(), tensors, materialize_grads=True)
    torch.testing.assert_close(both, tuple(x + y for x, y in zip(first, second, strict=True)))


@PATHS
def test_dropout_hits_the_weights_that_are_returned(path):
    g, tensors = graph(), inputs()
    out, weights = sparse_attention(*tensors, g, dropout=0.4, return_weights=True, path=path)
    whole = sparse_attention(*tensors, g, return_weights=True, path=path)[1]
    kept = weights != 0
    assert 0 < int(kept.sum()) < kept.numel()
    torch.testing.assert_close(weights, whole * kept / 0.6)
    expected = edge_sum(whole * kept / 0.6, tensors[2], g)
    torch.testing.assert_close(out, expected)
    upstream = torch.randn_like(out)
    found = torch.autograd.grad(out, tensors, upstream)
    torch.testing.assert_close(found, torch.autograd.grad(expected, tensors, upstream))


def test_dropout_keeps_the_mean():
    g = TokenGraph(torch.tensor([0, 997]), torch.arange(997), 997)
    query, ones = torch.ones(1, 1, 4), torch.ones(997, 1, 4)
    runs = [sparse_attention(query, ones, ones, g, dropout=0.5)[0, 0, 0] for _ in range(40)]
    mean = torch.stack(runs).mean()
    assert abs(float(mean) - 1) < 0.03  # six standard errors


def test_flops_are_counted_by_edges():
    g, (query, key, value) = graph(), inputs()
    with FlopCounterMode(display=False) as counter:
        sparse_attention(query, key, value, g, return_weights=True)[0].sum().backward()
    forward = 2 * g.num_edges * HEADS * (CHANNELS + VALUES)
    assert counter.get_total_flops() == 3 * forward


def test_without_gradients_no_transpose_is_made():
    g, tensors = graph(), inputs()
    with torch.no_grad():
        sparse_attention(*tensors, g)
    assert "transpose" not in g._pattern
    sparse_attention(*tensors, g)
    assert "transpose" in g._pattern


def test_two_runs_agree_to_the_last_bit():
    g, tensors = graph(), inputs(torch.float32)
    upstream = torch.randn(TARGETS, HEADS, VALUES)

    def once():
        out = sparse_attention(*tensors, g)
        return out, *torch.autograd.grad(out, tensors, upstream)

    assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))

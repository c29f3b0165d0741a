import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from structformer.graph import TokenGraph
from structformer.ops import (
    edge_sum,
    edge_weights,
    naive,
    normalize_rows,
    operator,
    sparse_attention,
    support,
)
from structformer.ops.operator import attention
from structformer.ops.paths import csr_available, possible_paths

PATHS = pytest.mark.parametrize("path", ["csr", "gather"] if csr_available() else ["gather"])
ALL_PATHS = pytest.mark.parametrize("path", possible_paths())
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 13, 11, 3, 5, 7


@pytest.fixture(params=[0, 2**62], ids=["support", "whole"])
def skipping(request, monkeypatch):
    """Weights of zero are left out however few there are, and then never."""
    monkeypatch.setattr(support, "FEWEST", request.param)
    monkeypatch.setattr(support, "MOST", 1.0)
    return request.param == 0


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
@pytest.mark.usefixtures("skipping")
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


@ALL_PATHS
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "entmax15"])
@pytest.mark.parametrize("bias_heads", [1, HEADS])
@pytest.mark.usefixtures("skipping")
def test_weights_alone_and_their_gradient(path, normalizer, bias_heads):
    g = graph()
    (query, key, _), bias = inputs(), random(g.num_edges, bias_heads)
    weights = edge_weights(query, key, g, bias, normalizer, scale=0.7, path=path)
    expected = normalize_rows(0.7 * naive.edge_dot(query, key, g) + bias, g.rowptr, normalizer)
    torch.testing.assert_close(weights, expected)
    upstream = torch.randn_like(weights)
    found = torch.autograd.grad(weights, (query, key, bias), upstream)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (query, key, bias), upstream))


@ALL_PATHS
def test_gradients_of_outputs_and_weights_add_up(path):
    g, tensors = graph(), inputs()
    out, weights = sparse_attention(*tensors, g, return_weights=True, path=path)
    a, b = torch.randn_like(out), torch.randn_like(weights)
    both = torch.autograd.grad((out * a).sum() + (weights * b).sum(), tensors)
    out, weights = sparse_attention(*tensors, g, return_weights=True, path=path)
    first = torch.autograd.grad((out * a).sum(), tensors, retain_graph=True)
    second = torch.autograd.grad((weights * b).sum(), tensors, materialize_grads=True)
    torch.testing.assert_close(both, tuple(x + y for x, y in zip(first, second, strict=True)))


@ALL_PATHS
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


def with_lonely_targets(edges=53):
    """The first and the last target hear nothing."""
    index = torch.stack([torch.randint(SOURCES, (edges,)), torch.randint(1, TARGETS - 1, (edges,))])
    return TokenGraph.from_edge_index(index, TARGETS, num_sources=SOURCES)


def twin(query, key, value, g, bias, alpha, scale=CHANNELS**-0.5, kept=None):
    weights = naive.segment_entmax(scale * naive.edge_dot(query, key, g) + bias, g.rowptr, alpha)
    used = weights if kept is None else weights * kept / 0.7
    return naive.edge_sum(used, value, g), weights


def check_gradients(found, expected, sources):
    """Of the outputs, of the weights, and of both together."""
    upstream = [torch.randn_like(x) for x in expected]
    for wanted in ([0], [1], [0, 1]):
        pairs = [
            torch.autograd.grad(
                [results[i] for i in wanted],
                sources,
                [upstream[i] for i in wanted],
                retain_graph=True,
                materialize_grads=True,
            )
            for results in (found, expected)
        ]
        torch.testing.assert_close(*pairs)


@ALL_PATHS
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7, 2.0, 3.0])
@pytest.mark.usefixtures("skipping")
def test_edges_left_out_are_not_missed(path, alpha):
    """Nor are those of a target all of whose edges the bias rules out."""
    g, tensors = with_lonely_targets(), inputs()
    bias = torch.randn(g.num_edges, HEADS, dtype=torch.float64)
    ruled_out = int(g.degree().argmax())
    bias = bias.masked_fill(g.row[:, None] == ruled_out, float("-inf")).requires_grad_()
    found = sparse_attention(*tensors, g, bias, alpha, return_weights=True, path=path)
    expected = twin(*tensors, g, bias, alpha)
    assert 0 < int((expected[1] == 0).sum()) < expected[1].numel()
    torch.testing.assert_close(found, expected)
    assert (found[0][[0, ruled_out, -1]] == 0).all()
    check_gradients(found, expected, (*tensors, bias))


@ALL_PATHS
@pytest.mark.parametrize("alpha", [1.5, 2.0])
@pytest.mark.usefixtures("skipping")
def test_a_support_of_all_edges(path, alpha):
    g, tensors, bias = with_lonely_targets(), inputs(), random(1, 1) * 0
    found = sparse_attention(*tensors, g, None, alpha, scale=1e-3, return_weights=True, path=path)
    expected = twin(*tensors, g, bias, alpha, scale=1e-3)
    assert (expected[1] > 0).all()
    torch.testing.assert_close(found, expected)
    check_gradients(found, expected, tensors)


@PATHS
@pytest.mark.parametrize("alpha", [1.5, 2.0])
@pytest.mark.usefixtures("skipping")
def test_dropout_among_the_edges_that_are_left(path, alpha):
    g, tensors = with_lonely_targets(), inputs()
    bias, kept = random(g.num_edges, HEADS), torch.rand(g.num_edges, HEADS) < 0.7
    by_head = [x.transpose(0, 1).contiguous() for x in (*tensors, bias, kept)]
    pattern = *g.compact, list(g.compact_transpose)
    out, weights = attention(*by_head, *pattern, CHANNELS**-0.5, alpha, 0.3, path)
    expected = twin(*tensors, g, bias, alpha, kept=kept)
    assert ((expected[1] > 0) & ~kept).any()
    found = out.transpose(0, 1), weights.t()
    torch.testing.assert_close(found, expected)
    check_gradients(found, expected, (*tensors, bias))


@ALL_PATHS
@pytest.mark.parametrize("alpha", [1.7, 2.0])
def test_values_and_weights_pass_gradcheck(path, alpha, monkeypatch):
    monkeypatch.setattr(support, "FEWEST", 0)
    index = torch.tensor([[0, 1, 2, 0, 1, 2, 1], [1, 1, 1, 3, 3, 3, 4]])
    g = TokenGraph.from_edge_index(index, 5, num_sources=3)
    tensors = random(5, 2, 2), random(3, 2, 2), random(3, 2, 1), random(7, 1)

    def run(query, key, value, bias):
        return sparse_attention(query, key, value, g, bias, alpha, 2.0, return_weights=True, path=path)

    assert (run(*tensors)[1] == 0).sum() >= 3
    assert torch.autograd.gradcheck(run, tensors)


@PATHS
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_only_edges_with_weight_are_worked_on(path, alpha, skipping, monkeypatch):
    sizes = {"dot_kernel": [], "sum_kernel": []}
    for name, seen in sizes.items():
        kernel = getattr(operator, name)

        def watched(a, b, pattern, *rest, kernel=kernel, seen=seen):
            seen.append(a.shape[0] * pattern.col.numel())
            return kernel(a, b, pattern, *rest)

        monkeypatch.setattr(operator, name, watched)
    g, tensors = with_lonely_targets(), inputs()
    bias = torch.zeros(g.num_edges, dtype=torch.float64).index_fill(0, torch.tensor([5]), float("-inf"))
    out, weights = sparse_attention(*tensors, g, bias, alpha, return_weights=True, path=path)
    out.sum().backward()
    every, left = weights.numel(), int((weights != 0).sum())
    assert left < every
    if alpha == 1 or not skipping:
        left = every
    forward = every if path == "csr" else left
    assert sizes == {"dot_kernel": [every, left], "sum_kernel": [forward, left, left, left]}


@PATHS
@pytest.mark.usefixtures("skipping")
def test_compiled_it_does_the_same(path):
    g = with_lonely_targets()
    tensors = [x.detach().transpose(0, 1).contiguous().requires_grad_() for x in inputs()]
    pattern = *g.compact, list(g.compact_transpose)

    def run(query, key, value):
        return attention(query, key, value, None, None, *pattern, 0.4, 2.0, 0.0, path)

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    results = []
    for function in (run, compiled):
        out, weights = function(*tensors)
        loss = out.square().sum() + weights.square().sum()
        results.append((out, weights, *torch.autograd.grad(loss, tensors)))
    assert (results[0][1] == 0).any()
    torch.testing.assert_close(*results)

"""On a machine without CUDA, Triton's interpreter runs the kernels (tests/conftest.py asks for it)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import naive, triton_attention
from structformer.ops.triton_attention import available, backward, forward, weights

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 11, 13, 3, 5, 7


class Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, graph, dropout=0.0, seed=0):
        ctx.graph, ctx.options = graph, (query.shape[2] ** -0.5, dropout, seed)
        out, lse = forward(query, key, value, bias, graph.rowptr, graph.col, *ctx.options)
        ctx.save_for_backward(query, key, value, bias, out, lse)
        return out

    @staticmethod
    def backward(ctx, grad):
        pattern = ctx.graph.rowptr, ctx.graph.col, *ctx.graph.transpose
        return *backward(grad, *ctx.saved_tensors, *pattern, *ctx.options), None, None, None


def graph(rng, targets=TARGETS, sources=SOURCES):
    """The ends hear nothing, target 1 everything, all others source 1, and nobody hears the last source."""
    adjacency = torch.rand(targets, sources, generator=rng) < 0.3
    adjacency[1] = adjacency[:, 1] = True
    adjacency[[0, -1]] = adjacency[:, -1] = False
    row, col = adjacency.nonzero().T
    return TokenGraph.from_edge_index(torch.stack([col, row]), targets, num_sources=sources).to(DEVICE)


def random(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(DEVICE, dtype).requires_grad_()


def inputs(rng, g, heads=HEADS, channels=CHANNELS, values=VALUES, dtype=torch.float64):
    sizes = (g.num_targets, channels), (g.num_sources, channels), (g.num_sources, values)
    return tuple(random(rng, tokens, heads, width, dtype=dtype) for tokens, width in sizes)


def check_twin(rng, out, expected, sources, rtol=1e-9, atol=1e-10):
    torch.testing.assert_close(out, expected, rtol=rtol, atol=atol)
    upstream = random(rng, *out.shape).detach()
    grads = torch.autograd.grad(out, sources, upstream)
    torch.testing.assert_close(
        grads, torch.autograd.grad(expected, sources, upstream), rtol=10 * rtol, atol=10 * atol
    )


# The second row of sizes has powers of two; in the third, two programs share a target's heads.
@pytest.mark.parametrize(
    ("sizes", "bias_shape"),
    [
        ((HEADS, CHANNELS, VALUES), None),
        ((HEADS, CHANNELS, VALUES), []),
        ((HEADS, CHANNELS, VALUES), [1]),
        ((HEADS, CHANNELS, VALUES), [HEADS]),
        ((2, 8, 4), [2]),
        ((3, 37, 5), []),
        ((3, 5, 61), [3]),
    ],
)
def test_values_and_gradients_equal_the_naive_twin(rng, sizes, bias_shape):
    g = graph(rng)
    assert g.degree()[1] > 8 < g.transpose[0].diff()[1]  # several blocks of edges, both ways
    tensors = inputs(rng, g, *sizes)
    bias = None if bias_shape is None else random(rng, g.num_edges, *bias_shape)
    out = Fused.apply(*tensors, bias, g)
    flat = bias[:, 0] if bias_shape == [1] else bias
    sources = tensors if bias is None else (*tensors, bias)
    check_twin(rng, out, naive.sparse_attention(*tensors, g, bias=flat), sources)
    assert (out[[0, -1]] == 0).all()


@pytest.mark.parametrize("heads", [[], [HEADS]])
def test_a_bias_of_minus_infinity_removes_the_edge(rng, heads):
    g = graph(rng)
    tensors, bias = inputs(rng, g), random(rng, g.num_edges, *heads).detach()
    removed = torch.rand(bias.shape, generator=rng) < 0.3
    removed[g.rowptr[3] : g.rowptr[4]] = True
    bias[removed.to(DEVICE)] = -math.inf
    bias.requires_grad_()
    out = Fused.apply(*tensors, bias, g)
    assert (out[3] == 0).all()
    check_twin(rng, out, naive.sparse_attention(*tensors, g, bias=bias), (*tensors, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision_stays_close(rng, dtype):
    g = graph(rng, 5, 7)
    tensors = [x.detach() for x in (*inputs(rng, g, dtype=dtype), random(rng, g.num_edges, dtype=dtype))]
    out, lse = forward(*tensors, g.rowptr, g.col, CHANNELS**-0.5)
    assert lse.dtype == torch.float32
    upstream = random(rng, *out.shape, dtype=dtype).detach()
    pattern = g.rowptr, g.col, *g.transpose
    grads = backward(upstream, *tensors, out, lse, *pattern, CHANNELS**-0.5)
    exact = [x.double().requires_grad_() for x in tensors]
    expected = naive.sparse_attention(*exact[:3], g, bias=exact[3])
    expected_grads = torch.autograd.grad(expected, exact, upstream.double())
    # Inputs and results are rounded to the lower precision, the sums inside are not.
    tolerance = 16 * torch.finfo(dtype).eps
    for x, y in zip((out, *grads), (expected, *expected_grads), strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_kernels_pass_gradcheck(rng, dropout):
    """With dropout too: the mask must be the same in the forward and in both backward passes."""
    g = graph(rng, 5, 3)
    tensors = (*inputs(rng, g, 2, 3, 2), random(rng, g.num_edges))
    assert torch.autograd.gradcheck(lambda *x: Fused.apply(*x, g, dropout, 7), tensors, fast_mode=True)


def test_dropout_drops_the_same_weights_in_every_pass(rng):
    g = graph(rng, 5, 7)
    query, key, value = tensors = inputs(rng, g)
    bias, rate, seed = random(rng, g.num_edges, HEADS), 0.3, 2**40 + 3
    pattern, scale = (g.rowptr, g.col), CHANNELS**-0.5
    _, lse = forward(*tensors, bias, *pattern, scale, rate, seed)
    whole = weights(query, key, bias, lse, *pattern, scale)
    factor = weights(query, key, bias, lse, *pattern, scale, rate, seed) / whole
    dropped = factor < 0.5
    torch.testing.assert_close(factor, (~dropped).double() / (1 - rate))
    scores = scale * naive.edge_dot(query, key, g) + bias
    softmax = naive.segment_softmax(scores, g.rowptr)
    torch.testing.assert_close(whole, softmax.detach())
    out = Fused.apply(*tensors, bias, g, rate, seed)
    check_twin(rng, out, naive.edge_sum(softmax * factor, value, g), (*tensors, bias))


def test_dropout_keeps_the_mean_and_follows_its_seed(rng):
    edges, heads, rate = 331, 5, 0.2
    rowptr, col = torch.tensor([0, edges], device=DEVICE), torch.arange(edges, device=DEVICE)
    query, key = random(rng, 1, heads, 2).detach(), random(rng, edges, heads, 2).detach()

    def kept(seed):
        lse = torch.zeros(1, heads, dtype=torch.float64, device=DEVICE)
        return weights(query, key, None, lse, rowptr, col, 0.0, rate, seed) > 0

    first = kept(5)
    assert torch.equal(first, kept(5))
    columns = [*first.T, *kept(6).T, *kept(5 + 2**32).T]
    share = 1 - rate
    deviation = (share * rate / edges) ** 0.5
    for i, one in enumerate(columns):
        assert abs(one.double().mean() - share) < 5 * deviation
        for other in columns[:i]:  # heads and seeds draw independently of each other
            assert abs((one & other).double().mean() - share**2) < 5 * deviation


def test_scores_too_large_to_exponentiate(rng):
    g = graph(rng, 5, 7)
    query, key, value = tensors = inputs(rng, g, dtype=torch.float32)
    exact = [x.detach().double() * factor for x, factor in zip(tensors, (1e4, 1, 1), strict=True)]
    out = Fused.apply(query * 1e4, key, value, None, g)
    torch.testing.assert_close(out.double(), naive.sparse_attention(*exact, g), rtol=1e-2, atol=1e-2)
    assert all(x.isfinite().all() for x in torch.autograd.grad(out.sum(), tensors))


def test_int32_indices_give_the_same_bits(rng):
    g = graph(rng, 5, 7)
    tensors, bias = [x.detach() for x in inputs(rng, g)], random(rng, g.num_edges).detach()
    results = []
    for dtype in (torch.int64, torch.int32):
        rowptr, col, *transpose = (x.to(dtype) for x in (g.rowptr, g.col, *g.transpose))
        out, lse = forward(*tensors, bias, rowptr, col, 0.4)
        results.append((out, *backward(out, *tensors, bias, out, lse, rowptr, col, *transpose, 0.4)))
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


def test_inputs_in_any_memory_order(rng):
    g = graph(rng, 5, 7)
    tensors = inputs(rng, g)
    bias = random(rng, g.num_edges, HEADS)
    twisted = [x.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_() for x in tensors]
    turned = bias.detach().t().contiguous().t().requires_grad_()
    out = Fused.apply(*twisted, turned, g)
    expected = Fused.apply(*tensors, bias, g)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    # The gradient of a sum is one number, expanded.
    torch.testing.assert_close(
        torch.autograd.grad(out.sum(), (*twisted, turned)),
        torch.autograd.grad(expected.sum(), (*tensors, bias)),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(("targets", "sources"), [(5, 3), (0, 3), (5, 0), (0, 0)])
def test_graphs_without_edges(rng, targets, sources):
    g = TokenGraph(torch.zeros(targets + 1, dtype=torch.long), torch.zeros(0, dtype=torch.long), sources)
    tensors, bias = inputs(rng, g.to(DEVICE)), random(rng, 0)
    out = Fused.apply(*tensors, bias, g.to(DEVICE))
    assert torch.equal(out, out.new_zeros(targets, HEADS, VALUES))
    grads = torch.autograd.grad(out.sum(), (*tensors, bias))
    assert [x.shape for x in grads] == [x.shape for x in (*tensors, bias)]
    assert all((grad == 0).all() for grad in grads)


def test_results_repeat_whatever_memory_held_before(rng):
    g = graph(rng, 5, 7)
    tensors, bias = inputs(rng, g), random(rng, g.num_edges)
    runs = []
    for deterministic in (False, True):  # this mode fills fresh memory with nan
        torch.use_deterministic_algorithms(deterministic)
        try:
            out = Fused.apply(*tensors, bias, g, 0.3, 5)
            runs.append((out, *torch.autograd.grad(out, (*tensors, bias), torch.ones_like(out))))
        finally:
            torch.use_deterministic_algorithms(False)
    for first, second in zip(*runs, strict=True):
        assert second.isfinite().all()
        assert torch.equal(first, second)


def test_a_bias_gradient_nobody_wants_is_not_made(rng):
    g = graph(rng, 5, 7)
    tensors, bias = [x.detach() for x in inputs(rng, g)], random(rng, g.num_edges).detach()
    out, lse = forward(*tensors, bias, g.rowptr, g.col, 0.4)
    pattern = g.rowptr, g.col, *g.transpose
    full = backward(out, *tensors, bias, out, lse, *pattern, 0.4)
    *grads, none = backward(out, *tensors, bias, out, lse, *pattern, 0.4, need_bias=False)
    assert none is None
    assert all(torch.equal(x, y) for x, y in zip(grads, full, strict=False))


@pytest.mark.filterwarnings("ignore:All-NaN slice")  # the interpreter, in the rows that do hear nan
def test_what_is_no_neighbour_cannot_be_heard(rng):
    g = graph(rng)
    query, key, value = (x.detach() for x in inputs(rng, g))
    heard = torch.zeros(SOURCES, dtype=torch.bool, device=DEVICE)
    heard[g.col[g.rowptr[4] : g.rowptr[5]]] = True
    before, _ = forward(query, key, value, None, g.rowptr, g.col, 1.0)
    key[~heard], value[~heard] = torch.nan, torch.nan
    after, _ = forward(query, key, value, None, g.rowptr, g.col, 1.0)
    assert torch.equal(before[4], after[4])


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=4, deadline=None)
def test_permuting_tokens_permutes_the_output(seed, data):
    rng = torch.Generator().manual_seed(seed)
    g = graph(rng, 5, 5)
    tensors = [x.detach() for x in inputs(rng, g)]
    perm = torch.tensor(data.draw(st.permutations(range(5))), device=DEVICE)
    place = torch.argsort(perm)  # token t moves to place[t]
    moved = TokenGraph.from_edge_index(place[g.to_edge_index()[0]], 5)
    out, _ = forward(*(x[perm] for x in tensors), None, moved.rowptr, moved.col, 0.4)
    expected, _ = forward(*tensors, None, g.rowptr, g.col, 0.4)
    torch.testing.assert_close(out, expected[perm])


def test_when_the_kernels_are_available(monkeypatch):
    x = torch.randn(3, device=DEVICE)
    assert available(x, x.half(), x.double())
    assert not available(x, x.long())
    monkeypatch.setattr(triton_attention, "interpreted", lambda: False)
    assert not available(torch.randn(3))
    assert not available(x, torch.randn(3, device="meta"))
    monkeypatch.setattr(triton_attention, "interpreted", lambda: True)
    assert available(torch.randn(3))
    monkeypatch.setattr(triton_attention, "_installed", lambda: False)
    assert not available(x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": torch.ones(13, 3, 4)}, r"agree in heads and channels \(got \[3, 5\] and \[3, 4\]\)"),
        ({"value": torch.ones(13, 2, 7)}, r"sources and heads \(got \[13, 3\] and \[13, 2\]\)"),
        ({"bias": torch.ones(31, 2)}, r"bias must be \[edges\] or .* 3 heads \(got \[31, 2\]\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\) \(got 1.0\)"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*63\) \(got -1\)"),
    ],
)
def test_bad_arguments_are_named(rng, change, message):
    g = graph(rng)
    names = ("query", "key", "value")
    arguments = dict(zip(names, inputs(rng, g), strict=True)) | {"bias": None} | change
    with pytest.raises(ValueError, match=message):
        forward(**arguments, rowptr=g.rowptr, col=g.col, scale=1.0)

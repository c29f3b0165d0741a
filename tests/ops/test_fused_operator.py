"""The compiled kernels and the operator around them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from structformer.graph import TokenGraph
from structformer.ops import compiled, edge_dot, edge_sum, fused_kernels, naive, sparse_attention
from structformer.ops.fused_operator import dropout_factors, edge_scores, edge_sums, fused_attention

TARGETS, SOURCES, HEADS = 150, 70, 3

pytestmark = pytest.mark.skipif(not compiled.available(), reason="built without a compiler")


def graph(edges=2_000, seed=0):
    """The first and the last target hear nothing, and rows are of very different lengths."""
    generator = torch.Generator().manual_seed(seed)
    row = 1 + (torch.rand(edges, generator=generator) ** 3 * (TARGETS - 2)).long()
    col = torch.randint(SOURCES, (edges,), generator=generator)
    return TokenGraph.from_edge_index(torch.stack([col, row]), TARGETS, num_sources=SOURCES)


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def inputs(channels=5, values=7, dtype=torch.float64):
    sizes = (TARGETS, channels), (SOURCES, channels), (SOURCES, values)
    return [random(tokens, HEADS, n, dtype=dtype) for tokens, n in sizes]


def check_twin(tensors, g, bias=None, alpha=1.0, **tolerance):
    found = sparse_attention(*tensors, g, bias, alpha, path="fused")
    # The dense twin would merge edges of the same ends.
    scores = naive.edge_dot(*tensors[:2], g) * tensors[0].shape[2] ** -0.5
    if bias is not None:
        scores = scores + (bias[:, None] if bias.ndim == 1 else bias)
    expected = naive.edge_sum(naive.segment_entmax(scores, g.rowptr, alpha), tensors[2], g)
    torch.testing.assert_close(found, expected, **tolerance)
    wanted, upstream = [*tensors, *([] if bias is None else [bias])], torch.randn_like(found)
    pairs = [torch.autograd.grad(x, wanted, upstream) for x in (found, expected)]
    torch.testing.assert_close(*pairs, **tolerance)


@pytest.fixture(params=compiled.runnable())
def build(request, monkeypatch):
    """Each build of the kernels that this processor can run in turn, whichever it would choose."""
    monkeypatch.setattr(compiled, "_library", lambda: compiled.loaded(request.param))


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize(
    ("channels", "values"), [(8, 8), (16, 16), (32, 32), (64, 64), (5, 7), (33, 33), (8, 16), (1, 1)]
)
def test_every_width_equals_its_twin(channels, values):
    g = graph()
    check_twin(inputs(channels, values), g, random(g.num_edges, HEADS), rtol=1e-9, atol=1e-10)
    single = inputs(channels, values, torch.float32)
    check_twin(single, g, random(g.num_edges, dtype=torch.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("alpha", [1.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_normalisers_equal_their_twins(alpha, dtype):
    tolerance = {"rtol": 1e-9, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    check_twin(inputs(dtype=dtype), graph(), alpha=alpha, **tolerance)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_ties_are_treated_alike(alpha):
    g = TokenGraph(torch.tensor([0, 4, 8]), torch.tensor([0, 1, 2, 3] * 2), 4)
    query, key = torch.ones(2, 1, 3), torch.ones(4, 1, 3)
    _, weights = sparse_attention(query, key, key, g, normalizer=alpha, path="fused", return_weights=True)
    torch.testing.assert_close(weights, torch.full((8, 1), 0.25))


def test_large_and_small_scores_are_exponentiated_well():
    scores = torch.cat([torch.linspace(-120, 0, 4_001), torch.tensor([float("-inf")])])
    g = TokenGraph(torch.tensor([0, len(scores)]), torch.arange(len(scores)), len(scores))
    query, key = torch.zeros(1, 1, 1), torch.zeros(len(scores), 1, 1)
    _, weights = sparse_attention(query, key, key, g, scores, path="fused", return_weights=True)
    expected = scores.double().softmax(0)[:, None]
    # What is below the smallest normal number of single precision may be zero.
    torch.testing.assert_close(weights.double(), expected, rtol=1e-5, atol=2e-38)
    assert weights[-1] == 0


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_no_number_stays_no_number(alpha):
    g, tensors = graph(), [x.detach() for x in inputs()]
    edge = int(g.rowptr[40])
    bias = torch.zeros(g.num_edges, dtype=torch.float64).index_fill(0, torch.tensor([edge]), torch.nan)
    out = sparse_attention(*tensors, g, bias, alpha, path="fused")
    row = int(g.row[edge])
    assert out[row].isnan().all()
    assert out[torch.arange(TARGETS) != row].isfinite().all()


def test_tensors_cut_from_one_are_read_in_place(monkeypatch):
    g = TokenGraph.from_edge_index(torch.randint(40, (2, 300)), 40)
    joint = torch.randn(40, 3, HEADS, 8)
    copied = []
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda x, *_, **__: copied.append(x) or x.clone())
    fused_kernels.attend(*joint.unbind(1), None, *g.compact, [], 0.3, 1.0, 0.0, 0)
    assert not copied
    monkeypatch.undo()
    found = sparse_attention(*joint.unbind(1), g, path="fused")
    torch.testing.assert_close(
        found, sparse_attention(*(x.clone() for x in joint.unbind(1)), g, path="gather")
    )


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("bias_heads", [1, HEADS])
def test_the_operators_keep_torchs_contract(alpha, bias_heads):
    g, (query, key, value) = graph(60), inputs()
    bias, seed = random(g.num_edges, bias_heads), torch.tensor([17])
    pattern = *g.compact, list(g.compact_transpose)
    torch.library.opcheck(fused_attention, (query, key, value, bias, seed, *pattern, [], 0.4, alpha, 0.3))
    weights = torch.randn(g.num_edges, HEADS, dtype=torch.float64)
    torch.library.opcheck(edge_scores, (query.detach(), key.detach(), *g.compact))
    torch.library.opcheck(edge_sums, (weights, value.detach(), *g.compact))
    torch.library.opcheck(dropout_factors, (weights, seed, 0.3))


def test_wide_indices_are_read_too():
    g, (query, key, value) = graph(), [x.detach() for x in inputs()]
    numbers = [], 0.4, 1.0, 0.0, 0
    narrow = fused_kernels.attend(query, key, value, None, *g.compact, *numbers)
    wide = fused_kernels.attend(query, key, value, None, g.rowptr, g.col, *numbers)
    torch.testing.assert_close(narrow, wide, rtol=0, atol=0)
    grads = [
        fused_kernels.attend_backward(*narrow, query, key, value, narrow[1], *pattern, *numbers)
        for pattern in ((*g.compact, list(g.compact_transpose)), (g.rowptr, g.col, list(g.transpose)))
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=0)


@pytest.mark.parametrize("far", [0, 1 << 40])
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_asking_for_vectors_early_changes_nothing(far, alpha, monkeypatch):
    g, tensors = graph(), inputs()
    out = sparse_attention(*tensors, g, normalizer=alpha, path="fused")
    monkeypatch.setattr(fused_kernels, "FAR", far)
    other = sparse_attention(*tensors, g, normalizer=alpha, path="fused")
    torch.testing.assert_close(out, other, rtol=0, atol=0)
    grads = [torch.autograd.grad(x.square().sum(), tensors) for x in (out, other)]
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_threads_change_nothing():
    g, tensors = graph(), inputs(dtype=torch.float32)
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        out = sparse_attention(*tensors, g, path="fused")
        found.append((out, *torch.autograd.grad(out.square().sum(), tensors)))
    torch.set_num_threads(1)
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=0, atol=0)


def test_dropout_drops_its_share_and_differs_by_seed_and_place():
    like = torch.empty(20_000, 4)
    a, b = (dropout_factors(like, torch.tensor([seed]), 0.3) for seed in (1, 2))
    torch.testing.assert_close(a.unique(), torch.tensor([0.0, 1 / 0.7]))
    dropped = (a == 0).double()
    assert abs(float(dropped.mean()) - 0.3) < 0.01  # six standard errors
    # Independent of the other seed, of the next edge and of the next head.
    for other in ((b == 0).double(), dropped.roll(1, 0), dropped.roll(1, 1)):
        assert abs(float((dropped * other).mean()) - 0.09) < 0.007


def test_flops_of_the_linear_maps():
    g, (query, key, value) = graph(), inputs()
    with FlopCounterMode(display=False) as counter:
        weights = edge_dot(query, key, g, path="fused")
        edge_sum(weights, value, g, path="fused").sum().backward()
    # Each of the maps is computed once and has two derivatives as costly.
    assert counter.get_total_flops() == 3 * 2 * g.num_edges * HEADS * (5 + 7)


def test_compiled_it_does_the_same():
    g, tensors = graph(), inputs()
    pattern = *g.compact, list(g.compact_transpose)

    def run(query, key, value):
        return fused_attention(query, key, value, None, None, *pattern, [], 0.4, 2.0, 0.0)

    results = []
    for function in (run, torch.compile(run, backend="aot_eager", fullgraph=True)):
        out, weights = function(*tensors)
        loss = out.square().sum() + weights.square().sum()
        results.append((out, weights, *torch.autograd.grad(loss, tensors)))
    torch.testing.assert_close(*results)

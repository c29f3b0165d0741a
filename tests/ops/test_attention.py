import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import naive, normalize_rows, sparse_attention
from structformer.ops.paths import possible_paths

PATHS = pytest.mark.parametrize("path", possible_paths())
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 13, 11, 3, 5, 7
NORMALIZERS = {"softmax": 1.0, "sparsemax": 2.0, "entmax15": 1.5, 1.3: 1.3}
TIGHT = {"rtol": 1e-6, "atol": 1e-7}


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def graph(targets=TARGETS, sources=SOURCES, density=0.4, seed=0):
    """A random bipartite graph in which the first and the last target hear nothing."""
    generator = torch.Generator().manual_seed(seed)
    adjacency = torch.rand(targets, sources, generator=generator) < density
    adjacency[0] = adjacency[-1] = False
    row, col = adjacency.nonzero().T
    return TokenGraph.from_edge_index(torch.stack([col, row]), targets, num_sources=sources)


def inputs(g, seed=0):
    query = random(g.num_targets, HEADS, CHANNELS, seed=seed)
    key = random(g.num_sources, HEADS, CHANNELS, seed=seed + 1)
    return query, key, random(g.num_sources, HEADS, VALUES, seed=seed + 2)


def check_twin(out, expected, sources):
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    upstream = random(*out.shape, seed=9).detach()
    grads = torch.autograd.grad(out, sources, upstream)
    expected_grads = torch.autograd.grad(expected, sources, upstream)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-8, atol=1e-9)


@PATHS
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("bias_shape", [None, "edges", "edges heads"])
def test_attention_equals_its_dense_twin(path, normalizer, bias_shape):
    g = graph()
    tensors = inputs(g)
    bias = None
    if bias_shape:
        bias = random(g.num_edges, *([HEADS] if "heads" in bias_shape else []), seed=5)
    out = sparse_attention(*tensors, g, bias=bias, normalizer=normalizer, path=path)
    expected = naive.sparse_attention(*tensors, g, bias=bias, alpha=NORMALIZERS[normalizer])
    check_twin(out, expected, tensors if bias is None else (*tensors, bias))
    assert (out[[0, -1]] == 0).all()


@PATHS
def test_a_learned_alpha_a_head(path):
    g = graph()
    tensors, alpha = inputs(g), torch.tensor([1.2, 1.5, 1.9], dtype=torch.float64, requires_grad=True)
    out = sparse_attention(*tensors, g, normalizer=alpha, path=path)
    check_twin(out, naive.sparse_attention(*tensors, g, alpha=alpha), (*tensors, alpha))


@PATHS
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize(("heads", "dropout"), [([], 0.0), ([2], 0.0), ([2], 0.4)])
def test_attention_passes_gradcheck(path, normalizer, heads, dropout):
    g = graph(5, 3, density=0.7)
    tensors = tuple(x.detach()[:, :2, :2].clone().requires_grad_() for x in inputs(g))

    def attend(*x):
        torch.manual_seed(3)  # the same weights are dropped in every call
        options = {"normalizer": normalizer, "dropout": dropout, "path": path}
        return sparse_attention(*x[:3], g, x[3], return_weights=True, **options)

    assert torch.autograd.gradcheck(attend, (*tensors, random(g.num_edges, *heads, seed=5)), **TIGHT)


@PATHS
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_attention_with_a_learned_alpha_passes_gradcheck(path, dropout):
    g = graph(5, 3, density=0.7)
    tensors = tuple(x.detach()[:, :2, :2].clone().requires_grad_() for x in inputs(g))
    alpha = torch.tensor([1.3, 1.8], dtype=torch.float64, requires_grad=True)

    def attend(*x):
        torch.manual_seed(3)
        return sparse_attention(*x[:3], g, x[3], normalizer=x[4], dropout=dropout, path=path)

    assert torch.autograd.gradcheck(attend, (*tensors, random(g.num_edges, 2, seed=5), alpha), **TIGHT)


@PATHS
def test_only_wanted_gradients_are_made(path):
    g = graph()
    query, key, value = inputs(g)
    out = sparse_attention(query, key.detach(), value.detach(), g, path=path)
    (grad,) = torch.autograd.grad(out.sum(), query)
    (full,) = torch.autograd.grad(sparse_attention(query, key, value, g, path=path).sum(), query)
    torch.testing.assert_close(grad, full)


@PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_close(path, dtype):
    g = graph()
    tensors = [x.detach().to(dtype) for x in inputs(g)]
    out = sparse_attention(*tensors, g, path=path)
    assert out.dtype == dtype
    expected = naive.sparse_attention(*(x.double() for x in tensors), g)
    # Scores and weights are rounded to the lower precision on the way, the sums inside are not.
    tolerance = 32 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


@PATHS
def test_inputs_in_any_memory_order(path):
    g = graph()
    query, key, value = inputs(g)
    twisted = [x.detach().transpose(0, 2).contiguous().transpose(0, 2) for x in (query, key)]
    one = value.detach()[:, :1].expand(-1, HEADS, -1)
    out = sparse_attention(*twisted, one, g, path=path)
    torch.testing.assert_close(out, sparse_attention(query, key, one.contiguous(), g, path=path))


@PATHS
@pytest.mark.parametrize(("targets", "sources"), [(5, 3), (0, 3), (5, 0), (0, 0), (1, 1)])
def test_graphs_without_edges(path, targets, sources):
    g = TokenGraph(torch.zeros(targets + 1, dtype=torch.long), torch.zeros(0, dtype=torch.long), sources)
    tensors = inputs(g)
    out, weights = sparse_attention(*tensors, g, return_weights=True, path=path)
    assert weights.shape == (0, HEADS)
    assert torch.equal(out, torch.zeros(targets, HEADS, VALUES, dtype=torch.float64))
    grads = torch.autograd.grad(out.sum(), tensors)
    assert all((grad == 0).all() for grad in grads)


@PATHS
def test_a_token_that_hears_itself_alone(path):
    g = TokenGraph(torch.tensor([0, 1]), torch.tensor([0]), 1)
    query, key, value = inputs(g)
    torch.testing.assert_close(sparse_attention(query, key, value, g, path=path), value)


@PATHS
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_an_edge_of_bias_minus_infinity_is_no_edge(path, normalizer):
    g = graph()
    tensors = inputs(g)
    removed = torch.rand(g.num_edges) < 0.3
    removed[g.rowptr[3] : g.rowptr[4]] = True
    bias = torch.zeros(g.num_edges, dtype=torch.float64).masked_fill(removed, float("-inf"))
    kept = TokenGraph.from_edge_index(
        g.to_edge_index()[0][:, ~removed], g.num_targets, num_sources=g.num_sources
    )
    out = sparse_attention(*tensors, g, bias=bias, normalizer=normalizer, path=path)
    check_twin(out, sparse_attention(*tensors, kept, normalizer=normalizer, path=path), tensors)


@PATHS
def test_returned_weights_are_the_ones_used(path):
    g = graph()
    query, key, value = inputs(g)
    out, weights = sparse_attention(query, key, value, g, scale=0.3, return_weights=True, path=path)
    torch.testing.assert_close(weights, normalize_rows(0.3 * naive.edge_dot(query, key, g), g.rowptr))
    torch.testing.assert_close(out, naive.edge_sum(weights, value, g))
    torch.manual_seed(3)
    out, weights = sparse_attention(query, key, value, g, dropout=0.5, return_weights=True, path=path)
    assert 0.2 < (weights == 0).double().mean() < 0.8
    torch.testing.assert_close(out, naive.edge_sum(weights, value, g))


@PATHS
@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=15, deadline=None)
def test_permuting_tokens_permutes_the_output(path, seed, data):
    g = graph(TARGETS, TARGETS, seed=seed)
    tensors = [x.detach() for x in inputs(g, seed)]
    perm = torch.tensor(data.draw(st.permutations(range(TARGETS))))
    place = torch.argsort(perm)  # token t moves to place[t]
    moved = TokenGraph.from_edge_index(place[g.to_edge_index()[0]], TARGETS)
    out = sparse_attention(*(x[perm] for x in tensors), moved, path=path)
    torch.testing.assert_close(out, sparse_attention(*tensors, g, path=path)[perm])


@PATHS
def test_what_is_no_neighbour_cannot_be_heard(path):
    g = graph()
    query, key, value = (x.detach() for x in inputs(g))
    heard = torch.zeros(SOURCES, dtype=torch.bool)
    heard[g.col[g.rowptr[4] : g.rowptr[5]]] = True
    before = sparse_attention(query, key, value, g, path=path)[4]
    key[~heard], value[~heard] = torch.nan, torch.nan
    torch.testing.assert_close(sparse_attention(query, key, value, g, path=path)[4], before)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(12, 3, 5)}, r"query must be \[tokens, heads, channels\] with 13 tokens"),
        ({"key": torch.ones(11, 15)}, r"key must be .* with 11 tokens \(got \[11, 15\]\)"),
        ({"key": torch.ones(11, 3, 4)}, r"agree in heads and channels \(got \[3, 5\] and \[3, 4\]\)"),
        ({"value": torch.ones(13, 3, 5)}, r"value must be .* with 11 tokens"),
        ({"value": torch.ones(11, 2, 5)}, r"value must have 3 heads, as query has \(got 2\)"),
        ({"bias": torch.ones(3)}, r"bias must be \[edges\] or \[edges, heads\]"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\) \(got 1.0\)"),
        ({"path": "cuda"}, r"path must be \"triton\", \"fused\", \"csr\", \"gather\" or None \(got 'cuda'\)"),
        ({"normalizer": "max"}, "normalizer must be"),
    ],
)
def test_bad_arguments_are_named(change, message):
    g = graph()
    arguments = dict(zip(("query", "key", "value"), inputs(g), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        sparse_attention(graph=g, **arguments)

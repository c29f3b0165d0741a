import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import arrange, compiled, naive, sparse_attention
from structformer.ops.arrange import arrangement, cluster_order, nearness

needs_kernels = pytest.mark.skipif(not compiled.available(), reason="built without a C++ compiler")
CLUSTERS, SIZE, NEIGHBORS = 13, 17, 5
TOKENS = CLUSTERS * SIZE


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(arrange, "SMALLEST", 7)
    monkeypatch.setattr(arrange, "NEAR", SIZE)


def clustered(seed=0, edges=NEIGHBORS * TOKENS):
    """Edges inside clusters whose members are scattered over the order of tokens; some tokens hear nobody."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(TOKENS, (edges,), generator=generator)
    source = target // SIZE * SIZE + torch.randint(SIZE, (edges,), generator=generator)
    name = torch.randperm(TOKENS, generator=generator)
    return TokenGraph.from_edge_index(name[torch.stack([source, target])], TOKENS)


def scattered(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TokenGraph.from_edge_index(
        torch.randint(TOKENS, (2, NEIGHBORS * TOKENS), generator=generator), TOKENS
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_is_a_permutation(seed):
    for graph in (clustered(seed), scattered(seed), clustered(seed, edges=11)):
        assert torch.equal(cluster_order(graph).sort().values, torch.arange(TOKENS))


def test_clusters_come_to_lie_together():
    graph = clustered()
    assert nearness(graph) < 0.3
    place = torch.empty(TOKENS, dtype=torch.long)
    place[cluster_order(graph)] = torch.arange(TOKENS)
    assert nearness(graph, place) > 0.9


def rows_of(rowptr, order):
    return order[torch.repeat_interleave(torch.arange(len(order)), rowptr.diff())]


def test_every_turn_has_the_edges_of_its_row_and_of_its_column():
    graph = clustered()
    better = arrangement(graph)
    row = rows_of(better.rowptr, better.order)
    turn = torch.repeat_interleave(torch.arange(TOKENS), better.rowptr.diff())
    edge = better.start[turn] + torch.arange(graph.num_edges) - better.rowptr[turn]
    assert torch.equal(edge.sort().values, torch.arange(graph.num_edges))
    assert torch.equal(row, graph.row[edge])
    assert torch.equal(better.col.long(), graph.col[edge])
    rowptr_t, row_t, perm = better.transpose(graph)
    assert torch.equal(perm.sort().values, torch.arange(graph.num_edges))
    assert torch.equal(rows_of(rowptr_t, better.order), graph.col[perm])
    assert torch.equal(row_t.long(), graph.row[perm])
    arranged = better.rowptr, better.col, rowptr_t, row_t, perm
    for its, ours in zip((*graph.compact, *graph.compact_transpose), arranged, strict=True):
        assert its.dtype == ours.dtype


@needs_kernels
def test_without_gradients_nothing_is_transposed(monkeypatch):
    graph = clustered()
    x = torch.randn(TOKENS, 2, 5)
    with monkeypatch.context() as patched:
        patched.setattr(TokenGraph, "transpose", property(lambda _: pytest.fail("nobody goes back")))
        out = sparse_attention(x, x, x, graph)
    assert arrangement(graph) is not None
    torch.testing.assert_close(out, sparse_attention(x, x, x.clone().requires_grad_(), graph))


def test_it_is_found_once_and_shared_by_copies_with_other_weights():
    graph = clustered()
    assert arrangement(graph) is arrangement(graph.with_weight(torch.ones(graph.num_edges)))


def test_nothing_is_arranged_where_nothing_is_gained(monkeypatch):
    assert arrangement(scattered()) is None
    tidy = clustered()
    place = torch.empty(TOKENS, dtype=torch.long)
    place[arrangement(tidy).order] = torch.arange(TOKENS)
    assert arrangement(TokenGraph.from_edge_index(place[torch.stack([tidy.col, tidy.row])], TOKENS)) is None
    bipartite = TokenGraph.from_edge_index(torch.zeros(2, 1, dtype=torch.long), 11, num_sources=7)
    assert arrangement(bipartite) is None
    assert arrangement(TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 11)) is None
    monkeypatch.setattr(arrange, "SMALLEST", TOKENS + 1)
    assert arrangement(clustered()) is None


@needs_kernels
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("bias_heads", [0, 1, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_attention_returns_the_same_to_the_bit_and_has_the_same_gradients(alpha, bias_heads, dropout):
    graph = clustered()
    query, key, value = (torch.randn(TOKENS, 3, 7, dtype=torch.float64).requires_grad_() for _ in range(3))
    wanted = [query, key, value]
    bias = None
    if bias_heads:
        bias = torch.randn(graph.num_edges, bias_heads, dtype=torch.float64).requires_grad_()
        wanted.append(bias)
    results = []
    for choice in (True, False):
        torch.manual_seed(5)
        found = sparse_attention(
            *(query, key, value, graph, bias, alpha),
            dropout=dropout,
            return_weights=True,
            path="fused",
            arrange=choice,
        )
        upstream = [torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(x) for x in found]
        results.append((*found, *torch.autograd.grad(found, wanted, upstream)))
    assert arrangement(graph) is not None
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=0)


@needs_kernels
def test_by_itself_it_arranges(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "structformer.ops.attention.arrangement", lambda graph: asked.append(graph) or arrangement(graph)
    )
    graph = clustered()
    x = torch.randn(TOKENS, 2, 5)
    sparse_attention(x, x, x, graph)
    assert asked == [graph]
    sparse_attention(x, x, x, graph, arrange=False)
    sparse_attention(x, x, x, graph, path="gather")
    assert asked == [graph]


@needs_kernels
def test_gradcheck():
    graph = clustered(edges=53)
    assert arrangement(graph) is not None
    inputs = [torch.randn(TOKENS, 1, 2, dtype=torch.float64) for _ in range(3)]

    def attend(query):
        return sparse_attention(query, *inputs[1:], graph, path="fused")

    torch.autograd.gradcheck(attend, inputs[0].requires_grad_(), fast_mode=True)


def test_an_arranged_layer_equals_the_naive_twin():
    graph = clustered()
    query, key, value = (torch.randn(TOKENS, 2, 5, dtype=torch.float64) for _ in range(3))
    torch.testing.assert_close(
        sparse_attention(query, key, value, graph), naive.sparse_attention(query, key, value, graph)
    )

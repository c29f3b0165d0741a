import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import arrange, naive, sparse_attention
from structformer.ops.arrange import arrangement, cluster_order, nearness

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


def test_the_arranged_graph_has_the_same_edges_in_the_same_order_inside_a_row():
    graph = clustered()
    better = arrangement(graph)
    torch.testing.assert_close(better.order[better.place], torch.arange(TOKENS))
    torch.testing.assert_close(better.edge[better.position], torch.arange(graph.num_edges))
    assert torch.equal(better.order[better.graph.row], graph.row[better.edge])
    assert torch.equal(better.order[better.graph.col], graph.col[better.edge])
    assert bool((better.edge.diff()[better.graph.row.diff() == 0] == 1).all())
    assert nearness(better.graph) > 0.9


def test_it_is_found_once_and_shared_by_copies_with_other_weights():
    graph = clustered()
    assert arrangement(graph) is arrangement(graph.with_weight(torch.ones(graph.num_edges)))


def test_nothing_is_arranged_where_nothing_is_gained(monkeypatch):
    assert arrangement(scattered()) is None
    tidy = clustered()
    assert arrangement(arrangement(tidy).graph) is None
    bipartite = TokenGraph.from_edge_index(torch.zeros(2, 1, dtype=torch.long), 11, num_sources=7)
    assert arrangement(bipartite) is None
    assert arrangement(TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 11)) is None
    monkeypatch.setattr(arrange, "SMALLEST", TOKENS + 1)
    assert arrangement(clustered()) is None


@pytest.mark.parametrize("path", ["csr", "gather"])
@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "learned"])
@pytest.mark.parametrize("bias_heads", [0, 1, 3])
def test_attention_returns_the_same_and_has_the_same_gradients(path, normalizer, bias_heads):
    graph = clustered()
    query, key, value = (torch.randn(TOKENS, 3, 7, dtype=torch.float64).requires_grad_() for _ in range(3))
    wanted = [query, key, value]
    bias = None
    if bias_heads:
        bias = torch.randn(graph.num_edges, bias_heads, dtype=torch.float64).requires_grad_()
        wanted.append(bias)
    rho = torch.tensor(1.4, dtype=torch.float64) if normalizer == "learned" else normalizer
    results = []
    for choice in (True, False):
        found = sparse_attention(
            query, key, value, graph, bias, rho, return_weights=True, path=path, arrange=choice
        )
        upstream = [torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(x) for x in found]
        results.append((*found, *torch.autograd.grad(found, wanted, upstream)))
    assert arrangement(graph) is not None
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


def test_by_itself_it_arranges_on_the_cpu(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "structformer.ops.attention.arrangement", lambda graph: asked.append(graph) or arrangement(graph)
    )
    graph = clustered()
    x = torch.randn(TOKENS, 2, 5)
    sparse_attention(x, x, x, graph)
    assert asked == [graph]
    sparse_attention(x, x, x, graph, arrange=False)
    assert asked == [graph]


def test_gradcheck():
    graph = clustered(edges=53)
    assert arrangement(graph) is not None
    inputs = [torch.randn(TOKENS, 1, 2, dtype=torch.float64) for _ in range(3)]

    def attend(query):
        return sparse_attention(query, *inputs[1:], graph)

    torch.autograd.gradcheck(attend, inputs[0].requires_grad_(), fast_mode=True)


def test_an_arranged_layer_equals_the_naive_twin():
    graph = clustered()
    query, key, value = (torch.randn(TOKENS, 2, 5, dtype=torch.float64) for _ in range(3))
    torch.testing.assert_close(
        sparse_attention(query, key, value, graph), naive.sparse_attention(query, key, value, graph)
    )

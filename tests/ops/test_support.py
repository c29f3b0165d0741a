import pytest
import torch

from structformer.graph import TokenGraph
from structformer.ops import naive, support
from structformer.ops.paths import csr_available
from structformer.ops.pattern import Pattern, dot_kernel, sum_kernel
from structformer.ops.support import Support, side_by_side

PATHS = pytest.mark.parametrize("path", ["csr", "gather"] if csr_available() else ["gather"])
TARGETS, SOURCES, HEADS, CHANNELS = 13, 11, 3, 5


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch):
    monkeypatch.setattr(support, "FEWEST", 0)


def graph(density=0.4):
    """A random bipartite graph in which the first, a middle and the last target hear nothing."""
    adjacency = torch.rand(TARGETS, SOURCES) < density
    adjacency[[0, 5, TARGETS - 1]] = False
    row, col = adjacency.nonzero().T
    return TokenGraph.from_edge_index(torch.stack([col, row]), TARGETS, num_sources=SOURCES)


def sparse_weights(g, share=0.3):
    weights = torch.rand(HEADS, g.num_edges, dtype=torch.float64) + 0.1
    return weights.masked_fill(torch.rand(weights.shape) >= share, 0.0)


def support_of(weights, g):
    found = Support.of(weights, *g.compact, g.num_sources)
    assert found is not None
    return found


def test_the_edges_are_those_with_weight():
    g = graph()
    weights = sparse_weights(g)
    found = support_of(weights, g)
    expected = [
        (h * TARGETS + int(g.row[e]), h * SOURCES + int(g.col[e]), float(weights[h, e]))
        for h in range(HEADS)
        for e in range(g.num_edges)
        if weights[h, e] != 0
    ]
    ends = zip(
        found.graph.row.tolist(), found.graph.col.tolist(), found.pick(weights)[0].tolist(), strict=True
    )
    assert list(ends) == expected
    assert found.graph.num_targets == HEADS * TARGETS
    assert found.graph.num_sources == HEADS * SOURCES


def test_heads_have_edges_of_their_own():
    g = graph()
    weights = sparse_weights(g)
    weights[1] = 0
    found = support_of(weights, g)
    counts = found.graph.rowptr[::TARGETS].diff().tolist()
    assert counts == (weights != 0).sum(1).tolist()
    assert counts[1] == 0


def test_putting_back_undoes_picking():
    g = graph()
    weights = sparse_weights(g)
    found = support_of(weights, g)
    assert torch.equal(found.put_back(found.pick(weights)), weights)
    others = torch.randn(HEADS, g.num_edges)
    assert torch.equal(found.put_back(found.pick(others)), others.where(weights != 0, 0.0))


@PATHS
def test_the_kernels_see_each_heads_own_edges(path):
    g = graph()
    weights = sparse_weights(g)
    found = support_of(weights, g)
    query, key = (
        torch.randn(HEADS, TARGETS, CHANNELS).double(),
        torch.randn(HEADS, SOURCES, CHANNELS).double(),
    )
    pattern = Pattern.of(found.graph)
    dots = dot_kernel(side_by_side(query), side_by_side(key), pattern, path)
    expected = naive.edge_dot(query.transpose(0, 1), key.transpose(0, 1), g).t()
    torch.testing.assert_close(dots, found.pick(expected))
    sums = sum_kernel(found.pick(weights), side_by_side(key), pattern, path).view(HEADS, TARGETS, CHANNELS)
    expected = naive.edge_sum(weights.t(), key.transpose(0, 1), g)
    torch.testing.assert_close(sums, expected.transpose(0, 1))


def test_no_weight_and_no_edge():
    g = graph()
    none = support_of(torch.zeros(HEADS, g.num_edges), g)
    assert none.graph.num_edges == 0
    assert (none.put_back(torch.zeros(1, 0)) == 0).all()
    empty = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), TARGETS, num_sources=SOURCES)
    assert support_of(torch.zeros(HEADS, 0), empty).put_back(torch.zeros(1, 0)).shape == (HEADS, 0)


def test_only_many_zeros_among_many_weights_are_worth_it(monkeypatch):
    g = TokenGraph(torch.tensor([0, 100]), torch.arange(100), 100)
    weights = torch.cat([torch.ones(60), torch.zeros(40)])[None]
    assert support_of(weights, g).graph.num_edges == 60
    weights[0, -1] = 1
    assert Support.of(weights, *g.compact, 100) is None
    weights[0, :41] = 0
    assert support_of(weights, g).graph.num_edges == 20
    monkeypatch.setattr(support, "FEWEST", 101)
    assert Support.of(weights, *g.compact, 100) is None

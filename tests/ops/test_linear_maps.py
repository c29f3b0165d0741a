import pytest
import torch

from structformer.graph import TokenGraph
from structformer.ops import edge_dot, edge_sum, naive
from structformer.ops.paths import possible_paths

PATHS = pytest.mark.parametrize("path", possible_paths())
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 13, 11, 3, 5, 7


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
def test_edge_dot_equals_its_twin(path):
    g = graph()
    query, key, _ = inputs(g)
    check_twin(edge_dot(query, key, g, path=path), naive.edge_dot(query, key, g), (query, key))


@PATHS
def test_edge_sum_equals_its_twin(path):
    g = graph()
    weights, value = random(g.num_edges, HEADS), inputs(g)[2]
    check_twin(edge_sum(weights, value, g, path=path), naive.edge_sum(weights, value, g), (weights, value))


@PATHS
def test_kernels_pass_gradcheck(path):
    g = graph(5, 3, density=0.7)
    query, key, value = (x.detach()[:, :2, :2].clone().requires_grad_() for x in inputs(g))
    weights = random(g.num_edges, 2)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda q, k: edge_dot(q, k, g, path=path), (query, key))
        assert check(lambda w, v: edge_sum(w, v, g, path=path), (weights, value))

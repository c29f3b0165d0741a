import pytest
import torch

from structformer.ops import edge_dot, edge_sum, naive
from structformer.ops.paths import possible_paths

PATHS = pytest.mark.parametrize("path", possible_paths())
MAPS = pytest.mark.parametrize("name", ["edge_dot", "edge_sum"])
TARGETS, SOURCES, EDGES, HEADS, CHANNELS = 13, 11, 19, 3, 5


def arguments(name, g, rng, heads=HEADS, channels=CHANNELS):
    """What a map takes besides the graph: one vector a target, or one weight an edge; and one vector a source."""
    first = (g.num_targets, heads, channels) if name == "edge_dot" else (g.num_edges, heads)
    shapes = first, (g.num_sources, heads, channels)
    return [torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_() for shape in shapes]


@PATHS
@MAPS
def test_a_map_equals_its_twin(name, path, random_graph, rng):
    g = random_graph(TARGETS, SOURCES, EDGES)
    assert int(g.degree().min()) == 0, "a target that hears nothing is among them"
    given = arguments(name, g, rng)
    fast = {"edge_dot": edge_dot, "edge_sum": edge_sum}[name](*given, g, path=path)
    twin = getattr(naive, name)(*given, g)
    torch.testing.assert_close(fast, twin, rtol=1e-9, atol=1e-10)
    upstream = torch.randn(fast.shape, generator=rng, dtype=torch.float64)
    grads = [torch.autograd.grad(out, given, upstream) for out in (fast, twin)]
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-9)


@PATHS
@MAPS
def test_a_map_passes_gradcheck_twice(name, path, random_graph, rng):
    g = random_graph(5, 3, 11)
    given = arguments(name, g, rng, heads=2, channels=2)
    function = {"edge_dot": edge_dot, "edge_sum": edge_sum}[name]
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda first, second: function(first, second, g, path=path), tuple(given))

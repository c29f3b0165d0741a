import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from structformer.graph import TokenGraph
from structformer.ops import edge_dot, edge_sum, pattern
from structformer.ops.paths import csr_available
from structformer.ops.pattern import Pattern

PATHS = ["gather", "csr"] if csr_available() else ["gather"]


class Sizes(TorchDispatchMode):
    """Remembers how many numbers the largest tensor held that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.largest = max(self.largest, tensor.numel())
        return out


def graph(targets=7, sources=11):
    adjacency = torch.rand(targets, sources) < 0.3
    row, col = adjacency.nonzero().T
    return TokenGraph.from_edge_index(torch.stack([col, row]), targets, num_sources=sources)


def test_transposing_twice_returns_to_the_start():
    first = Pattern.of(graph())
    second, perm = first.transposed
    third, back = second.transposed
    assert (second.num_rows, second.num_cols) == (11, 7)
    assert torch.equal(third.rowptr, first.rowptr)
    assert torch.equal(third.col, first.col)
    assert torch.equal(perm[back], torch.arange(perm.numel()))
    assert torch.equal(second.row, first.col[perm])
    assert torch.equal(second.col, first.row[perm])


@pytest.mark.parametrize("path", PATHS)
def test_no_result_depends_on_what_memory_held_before(path):
    g = graph()
    query, key, value = torch.randn(7, 3, 5), torch.randn(11, 3, 5), torch.randn(11, 3, 2)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()  # this mode fills fresh memory with nan
        dots = edge_dot(query, key, g, path=path)
        sums = edge_sum(dots, value, g, path=path)
    finally:
        torch.use_deterministic_algorithms(False)
    assert dots.isfinite().all()
    assert sums.isfinite().all()


def test_blocks_of_the_gather_path_do_not_show(monkeypatch):
    g = graph()
    query, key, weights = torch.randn(7, 3, 5), torch.randn(11, 3, 5), torch.randn(g.num_edges, 3)
    whole = edge_dot(query, key, g, path="gather"), edge_sum(weights, key, g, path="gather")
    monkeypatch.setattr(pattern, "BLOCK", 4 * 15)
    torch.testing.assert_close(
        (edge_dot(query, key, g, path="gather"), edge_sum(weights, key, g, path="gather")), whole
    )


@pytest.mark.parametrize("path", PATHS)
def test_no_vector_an_edge_is_held(path, monkeypatch):
    """The backward pass too stays within one block of edges and a few numbers an edge."""
    tokens, degree, heads, channels = 101, 53, 2, 64
    monkeypatch.setattr(pattern, "BLOCK", 1 << 12)
    col = torch.stack([torch.randperm(tokens)[:degree].sort().values for _ in range(tokens)]).flatten()
    g = TokenGraph(torch.arange(0, tokens * degree + 1, degree), col, tokens)
    _ = g.row, g.transpose
    x = torch.randn(tokens, heads, channels, requires_grad=True)
    with Sizes() as sizes:
        edge_sum(edge_dot(x, x, g, path=path), x, g, path=path).sum().backward()
    assert sizes.largest >= g.num_edges * heads
    assert sizes.largest < g.num_edges * channels

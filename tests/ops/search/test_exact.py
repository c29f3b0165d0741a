import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from structformer.ops import naive, neighbors
from structformer.ops.search import limits


class Products(TorchDispatchMode):
    """Counts batched products and remembers the size of the largest."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bmm.default:
            self.sizes.append(out.numel())
        return out


def random_sets(sizes, dtype=torch.float64):
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    return torch.randn(int(ptr[-1]), 3, dtype=dtype), torch.randn(int(ptr[-1]), 3, dtype=dtype), ptr


@pytest.mark.parametrize("block", [1, 37, 150, 1000])
@pytest.mark.parametrize(
    "mode", [{}, {"causal": True, "include_self": True}, {"exclude_self": True}], ids=str
)
def test_blocks_do_not_show_and_bound_what_is_held(block, mode, monkeypatch):
    query, key, ptr = random_sets([11, 5, 13, 0, 12, 31])
    expected = naive.neighbors(query, key, 4, ptr, **mode)
    monkeypatch.setattr(limits, "BLOCK", block)
    with Products() as products:
        graph = neighbors(query, key, 4, ptr, **mode)
    assert torch.equal(graph.rowptr, expected.rowptr)
    assert torch.equal(graph.col, expected.col)
    assert max(products.sizes) <= max(block, 31)  # a single row is never cut


def test_equal_sets_take_one_product():
    query, key, ptr = random_sets([13] * 97)
    with Products() as products:
        neighbors(query, key, 4, ptr, include_self=True)
    assert products.sizes == [97 * 13 * 13]


def test_small_sets_need_no_product():
    query, key, ptr = random_sets([13] * 97)
    for k, mode in ((13, {}), (12, {"include_self": True}), (12, {"exclude_self": True}), (0, {})):
        with Products() as products:
            neighbors(query, key, k, ptr, **mode)
        assert products.sizes == []


def test_sets_of_all_sizes_waste_little():
    sizes = list(range(20, 220))
    query, key, ptr = random_sets(sizes, torch.float32)
    with Products() as products:
        neighbors(query, key, 4, ptr)
    assert len(products.sizes) < 20
    assert sum(products.sizes) < 1.7 * sum(n * n for n in sizes)

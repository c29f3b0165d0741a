"""The operator around the GPU's kernels; without a GPU Triton's interpreter runs them (see conftest.py)."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from structformer.graph import TokenGraph
from structformer.ops import naive, sparse_attention
from structformer.ops import triton_attention as kernels
from structformer.ops.triton_operator import triton_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TARGETS, SOURCES, HEADS, CHANNELS, VALUES = 7, 11, 3, 5, 2

pytestmark = pytest.mark.skipif(not kernels.available(), reason="triton is not installed")


def graph():
    index = torch.stack([torch.randint(SOURCES, (29,)), torch.randint(TARGETS, (29,))])
    return TokenGraph.from_edge_index(index, TARGETS, num_sources=SOURCES).to(DEVICE)


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, device=DEVICE).requires_grad_()


def inputs():
    return random(TARGETS, HEADS, CHANNELS), random(SOURCES, HEADS, CHANNELS), random(SOURCES, HEADS, VALUES)


@pytest.mark.parametrize("bias_heads", [None, 1, HEADS])
def test_attention_on_this_path_equals_its_twin(bias_heads):
    g, tensors = graph(), inputs()
    bias = None if bias_heads is None else random(g.num_edges, bias_heads)
    out = sparse_attention(*tensors, g, bias, path="triton")
    expected = naive.sparse_attention(*tensors, g, None if bias is None else bias.expand(-1, HEADS))
    torch.testing.assert_close(out, expected)
    wanted, upstream = tensors if bias is None else (*tensors, bias), torch.randn_like(out)
    found = torch.autograd.grad(out, wanted, upstream)
    torch.testing.assert_close(found, torch.autograd.grad(expected, wanted, upstream))


@pytest.mark.parametrize(("bias_heads", "dropout"), [(None, 0.0), (1, 0.0), (2, 0.4)])
def test_attention_on_this_path_passes_gradcheck(bias_heads, dropout):
    index = torch.tensor([[0, 2, 6, 2, 0, 1, 6], [0, 0, 1, 1, 3, 3, 3]])  # targets 2 and 4 hear nothing
    g = TokenGraph.from_edge_index(index, 5, num_sources=7).to(DEVICE)
    tensors = random(5, 2, 3), random(7, 2, 3), random(7, 2, 11)
    bias = () if bias_heads is None else (random(g.num_edges, bias_heads),)

    def attend(*x):
        torch.manual_seed(3)  # the same weights are dropped in every call
        return sparse_attention(*x[:3], g, *x[3:], dropout=dropout, path="triton")

    assert torch.autograd.gradcheck(attend, (*tensors, *bias), fast_mode=True, rtol=1e-6, atol=1e-7)


def test_the_operator_keeps_torchs_contract():
    g, tensors = graph(), inputs()
    bias, seed = random(g.num_edges, HEADS), torch.tensor([17])
    arguments = *tensors, bias, seed, *g.compact, list(g.compact_transpose), 0.4, 0.3
    torch.library.opcheck(triton_attention, arguments)


def test_dropout_is_drawn_anew_and_repeats_with_the_seed():
    g, tensors = graph(), inputs()
    torch.manual_seed(3)
    first, second = (sparse_attention(*tensors, g, dropout=0.5, path="triton") for _ in range(2))
    torch.manual_seed(3)
    again = sparse_attention(*tensors, g, dropout=0.5, path="triton")
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_flops_are_counted_by_edges():
    g, tensors = graph(), inputs()
    with FlopCounterMode(display=False) as counter:
        sparse_attention(*tensors, g, path="triton").sum().backward()
    channels = (CHANNELS + VALUES) + (4 * CHANNELS + 3 * VALUES)
    assert counter.get_total_flops() == 2 * g.num_edges * HEADS * channels

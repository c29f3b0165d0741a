import pytest
import torch
from torch.nn import functional as F

from structformer.ops import compiled
from structformer.ops.geglu import _geglu, geglu


@pytest.fixture(params=[*compiled.runnable(), None])
def build(request, monkeypatch):
    """Each build of the kernels in turn, then torch alone."""
    library = None if request.param is None else compiled.loaded(request.param)
    monkeypatch.setattr(compiled, "_library", lambda: library)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_values_and_gradients_equal_torchs(dtype, close):
    gate = torch.linspace(-12, 12, 30_001, dtype=dtype).requires_grad_()
    value = torch.linspace(-1, 1, 30_001, dtype=dtype).roll(7).requires_grad_()
    found, expected = geglu(value, gate), value * F.gelu(gate)
    torch.testing.assert_close(found, expected, rtol=close, atol=close)
    upstream = torch.randn_like(found)
    pairs = [torch.autograd.grad(x, (value, gate), upstream) for x in (found, expected)]
    torch.testing.assert_close(*pairs, rtol=4 * close, atol=4 * close)


@pytest.mark.usefixtures("build")
def test_no_number_stays_no_number_and_large_ones_are_no_trouble():
    gate = torch.tensor([torch.nan, 1e30, -1e30])
    torch.testing.assert_close(geglu(torch.ones(3), gate), F.gelu(gate), equal_nan=True)
    # torch's own vector instructions make inf · 0 of it in single precision.
    assert geglu(torch.ones(1), torch.tensor([torch.inf])).item() == torch.inf or not compiled.available()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_left_to_torch(dtype):
    value, gate = torch.randn(2, 5).to(dtype)
    assert torch.equal(geglu(value, gate), value * F.gelu(gate))


def test_tensors_in_any_memory_order_and_of_no_numbers():
    value, gate = torch.randn(7, 5).t(), torch.randn(5, 14)[:, ::2]
    torch.testing.assert_close(geglu(value, gate), value * F.gelu(gate))
    assert geglu(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
def test_the_operator_keeps_torchs_contract():
    value, gate = (torch.randn(4, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    torch.library.opcheck(_geglu, (value, gate))
    assert torch.autograd.gradcheck(geglu, (value, gate))

"""The compiled short convolution; tests/nn/test_convolution.py compares the layer on both paths with the formula."""

import pytest
import torch

from structformer.nn.convolution import ShortConvolution
from structformer.ops import compiled, short_convolution
from structformer.ops.short_convolution import _short_convolution

pytestmark = pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
PTR = torch.tensor([0, 7, 7, 8, 10, 400])  # one set goes over several of the parts that threads take
TOKENS, SETS, WIDTH = 400, 5, 11


@pytest.fixture(params=compiled.runnable())
def build(request, monkeypatch):
    """Each build of the kernels in turn, and nothing in the memory that they shall write to."""
    monkeypatch.setattr(compiled, "_library", lambda: compiled.loaded(request.param))
    monkeypatch.setattr(short_convolution, "empty", lambda like, *shape: like.new_full(shape, torch.nan))


def inputs(rng, size=4, dtype=torch.float64):
    shapes = (TOKENS, WIDTH), (size, WIDTH), (SETS, size - 1, WIDTH)
    return [torch.randn(*shape, generator=rng, dtype=dtype).requires_grad_() for shape in shapes]


def run(tensors):
    h, weight, state = tensors
    return short_convolution.short_convolution(h, weight, PTR, state)


def gradients(results, tensors):
    total = sum((x * x.detach().sin()).sum() for x in results)
    return torch.autograd.grad(total, tensors)


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_equals_the_path_without_kernels(rng, size, dtype, close, monkeypatch):
    tensors = inputs(rng, size, dtype)
    found = run(tensors)
    grads = gradients(found, tensors)
    monkeypatch.setattr(compiled, "_library", lambda: None)
    layer = ShortConvolution(WIDTH, size).to(dtype)
    layer.weight = torch.nn.Parameter(tensors[1].detach())
    expected = layer(tensors[0], PTR, tensors[2])
    torch.testing.assert_close(found, expected, rtol=close, atol=close)
    plain = gradients(expected, (tensors[0], layer.weight, tensors[2]))
    torch.testing.assert_close(grads, plain, rtol=close, atol=10 * close)


def test_threads_and_the_order_of_memory_change_nothing(rng):
    tensors, results = inputs(rng, dtype=torch.float32), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found = run(tensors)
        results.append((*found, *gradients(found, tensors)))
    torch.set_num_threads(1)
    strange = [x.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for x in tensors]
    found = run(strange)
    for other in (*results[1:], (*found, *gradients(found, strange))):
        torch.testing.assert_close(results[0], other, rtol=0, atol=0)


def test_only_some_gradients_are_asked_for(rng):
    tensors = inputs(rng)
    total = gradients(run(tensors), tensors)
    of_each = [gradients(run(tensors)[number : number + 1], tensors) for number in range(2)]
    added = tuple(a + b for a, b in zip(*of_each, strict=True))
    torch.testing.assert_close(added, total, rtol=0, atol=1e-12)


def test_no_tokens_and_no_sets():
    weight = torch.randn(3, WIDTH)
    for sets in (0, 2):
        h, state = torch.zeros(0, WIDTH).requires_grad_(), torch.randn(sets, 2, WIDTH).requires_grad_()
        ptr = torch.zeros(sets + 1, dtype=torch.long)
        out, after = short_convolution.short_convolution(h, weight, ptr, state)
        assert out.shape == h.shape
        assert torch.equal(after, state)
        after.sum().backward()
        assert (state.grad == 1).all()


def test_the_operator_keeps_torchs_contract(rng):
    h, weight, state = inputs(rng)
    tensors = [x.detach().requires_grad_() for x in (h[:10], weight, state[:4])]
    torch.library.opcheck(_short_convolution, (*tensors[:2], PTR[:5], tensors[2]))
    assert torch.autograd.gradcheck(
        lambda h, weight, state: _short_convolution(h, weight, PTR[:5], state), tensors
    )


def test_types_that_it_does_not_take(rng, monkeypatch):
    tensors, serves = inputs(rng), short_convolution.short_convolution_serves
    assert serves(*tensors)
    assert not serves(tensors[0].float(), *tensors[1:])
    assert not serves(*(x.bfloat16() for x in tensors))
    monkeypatch.setattr(compiled, "_library", lambda: None)
    assert not serves(*tensors)
    with pytest.raises(RuntimeError, match="installed without its compiled kernels"):
        run(tensors)

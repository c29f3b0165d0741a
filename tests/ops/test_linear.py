import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from structformer.ops import linear as module
from structformer.ops.linear import _linear, _linear_sum, linear, linears, onednn_is_faster

TOKENS, INPUTS, OUTPUTS = 37, 11, 7
pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"),
    reason="this build of torch has no oneDNN",
)


@pytest.fixture(params=["oneDNN", "oneDNN in parts", "MKL"])
def taken(request, monkeypatch):
    """Whatever the processor and the size, products go to oneDNN, or to huge pages; notes how many did."""
    calls = []
    if request.param != "oneDNN":
        monkeypatch.setattr(module, "LARGEST", 0)
        monkeypatch.setattr(module, "PART", 5 * OUTPUTS * 4)
    monkeypatch.setattr(module, "onednn_is_faster", lambda: request.param != "MKL")
    monkeypatch.setattr(module, "SMALLEST", 0)
    monkeypatch.setattr(module, "_linear", lambda *x: calls.append(x) or _linear(*x))
    return calls


def inputs(*leading, dtype=torch.float32):
    sizes = (*leading, INPUTS), (OUTPUTS, INPUTS), (OUTPUTS,)
    return [torch.randn(size, dtype=dtype).requires_grad_() for size in sizes]


@pytest.mark.parametrize("leading", [(TOKENS,), (3, 5), (1,), (0,), ()])
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_equal_torchs(taken, leading, biased):
    tensors = inputs(*leading)[: 3 if biased else 2]
    found, expected = linear(*tensors), F.linear(*tensors)
    assert len(taken) == 1 or not leading, "a single vector has no rows to part"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(found)
    pairs = [torch.autograd.grad(x, tensors, upstream) for x in (found, expected)]
    torch.testing.assert_close(*pairs, rtol=1e-5, atol=1e-5)


def several(*leading):
    x, *first = inputs(*leading)
    return x, [tuple(first), (inputs()[1], None), tuple(inputs()[1:])]


@pytest.mark.parametrize("leading", [(TOKENS,), (3, 5), (0,)])
def test_several_maps_equal_each_alone(taken, leading):
    x, maps = several(*leading)
    wanted = [x, *(tensor for of in maps for tensor in of if tensor is not None)]
    found, expected = linears(x, maps), tuple(F.linear(x, *of) for of in maps)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert len(taken) == 3
    upstream = [torch.randn_like(part) for part in found]
    pairs = [torch.autograd.grad(parts, wanted, upstream) for parts in (found, expected)]
    torch.testing.assert_close(*pairs, rtol=1e-5, atol=1e-5)


def test_of_several_maps_some_may_go_unused(taken):
    x, maps = several(TOKENS)
    wanted = [x, maps[1][0]]
    grads = [
        torch.autograd.grad(parts[1].sum(), wanted)
        for parts in (linears(x, maps), [F.linear(x, *of) for of in maps])
    ]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)
    unused = torch.autograd.grad(linears(x, maps)[1].sum(), maps[0][0], allow_unused=True)
    assert unused == (None,)
    assert linears(x.detach(), maps)[0].requires_grad


def test_second_derivatives_of_several_maps(taken):
    x, maps = several(TOKENS)
    found = []
    for parts in (linears(x, maps), [F.linear(x, *of) for of in maps]):
        loss = sum(part.square().sum() for part in parts)
        grads = torch.autograd.grad(loss, (x, maps[0][0]), create_graph=True)
        found.append(
            torch.autograd.grad(sum(grad.square().sum() for grad in grads), (x, maps[0][0], maps[1][0]))
        )
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-3)


def test_one_sum_is_what_tokens_are_told(taken, monkeypatch):
    x, maps = several(TOKENS)
    sums = []
    monkeypatch.setattr(module, "_linear_sum", lambda *of: sums.append(of) or _linear_sum(*of))
    torch.autograd.grad(sum(part.sum() for part in linears(x, maps)), x)
    ((grads, weights),) = sums
    assert len(grads) == len(weights) == 3


def test_several_small_maps_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(module, "_Linears", None)
    x, maps = several(TOKENS)
    assert len(linears(x, maps)) == 3


def test_second_derivatives(taken):
    x, weight, bias = inputs(TOKENS)
    found = []
    for function in (linear, F.linear):
        (grad,) = torch.autograd.grad(function(x, weight, bias).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), (x, weight)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    assert taken


def test_only_wanted_gradients_are_made(taken):
    x, weight, bias = inputs(TOKENS)
    out = linear(x.detach(), weight, bias.detach())
    (grad,) = torch.autograd.grad(out.sum(), weight)
    torch.testing.assert_close(grad, x.detach().sum(0).expand(OUTPUTS, -1))
    assert len(taken) == 1, "nothing is computed for the input"


def test_tensors_in_any_memory_order(taken):
    x, weight = torch.randn(INPUTS, TOKENS).t(), torch.randn(INPUTS, 2 * OUTPUTS)[:, ::2].t()
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5)
    assert len(taken) == 1


def test_the_operator_keeps_torchs_contract():
    x, weight, bias = inputs(TOKENS)
    torch.library.opcheck(_linear, (x, weight, bias))
    torch.library.opcheck(_linear, (x, weight, None))
    torch.library.opcheck(_linear_sum, ([x, x.detach()], [weight, weight.detach()]))


def test_what_it_does_not_serve_is_left_to_torch(taken, monkeypatch):
    double = linear(*inputs(TOKENS, dtype=torch.float64))
    assert double.dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(*inputs(TOKENS)).dtype == torch.bfloat16
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    linear(*inputs(TOKENS))
    assert not taken


def test_small_products_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(module, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(module, "_linear", lambda *_: pytest.fail("too small to pay"))
    linear(*inputs(TOKENS))


def test_operations_are_counted(taken):
    x, weight, bias = inputs(TOKENS)
    with FlopCounterMode(display=False) as counter:
        linear(x, weight, bias).sum().backward()
    once = 2 * TOKENS * INPUTS * OUTPUTS
    assert counter.get_total_flops() == 3 * once
    with FlopCounterMode(display=False) as counter:
        sum(part.sum() for part in linears(x, [(weight, bias), (weight, None)])).backward()
    assert counter.get_total_flops() == 2 * 3 * once
    assert taken


@pytest.mark.parametrize(
    ("changed", "value"), [("cpu.get_cpu_capability", "AVX2"), ("mkl.is_available", False)]
)
def test_the_processor_and_the_build_decide(changed, value, monkeypatch):
    place, name = changed.split(".")
    monkeypatch.setattr(getattr(torch.backends, place), name, lambda: value)
    assert not onednn_is_faster.__wrapped__()


@pytest.mark.parametrize(("vendor", "wanted"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_the_vendor_decides(vendor, wanted, monkeypatch, tmp_path):
    about = tmp_path / "cpuinfo"
    about.write_text(f"vendor_id : {vendor}\n")
    monkeypatch.setattr(module, "Path", lambda _: about)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert onednn_is_faster.__wrapped__() is wanted
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert not onednn_is_faster.__wrapped__()

from itertools import pairwise

import pytest
import torch

from structformer.nn.convolution import ShortConvolution
from structformer.ops import compiled

WIDTH = 5
PTR = torch.tensor([0, 7, 7, 8, 10, 23])  # sets of 7, 0, 1, 2 and 13 tokens
SETS, TOKENS = 5, 23
SIZES = pytest.mark.parametrize("size", [1, 2, 3, 5])


@pytest.fixture(autouse=True, params=[True, False] if compiled.available() else [False], ids=str)
def _kernels(request, monkeypatch):
    """With the compiled kernels and without them."""
    if not request.param:
        monkeypatch.setattr(compiled, "_library", lambda: None)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def layer(size=3):
    convolution = ShortConvolution(WIDTH, size).double()
    torch.nn.init.normal_(convolution.weight)
    return convolution


def twin(convolution, h, ptr, state):
    """The formula of the docstring, token by token."""
    outs, kept = [h[:0]], []
    for (start, stop), earlier in zip(pairwise(ptr.tolist()), state, strict=True):
        line = [*earlier, *h[start:stop]]
        for t in range(convolution.size - 1, len(line)):
            outs.append(sum(convolution.weight[d] * line[t - d] for d in range(convolution.size))[None])
        kept.append(torch.stack(line[len(line) - len(earlier) :]) if len(earlier) else earlier)
    return torch.cat(outs), torch.stack(kept)


@SIZES
def test_equals_the_twin(rng, size):
    convolution, h = layer(size), random(rng, TOKENS, WIDTH).requires_grad_()
    state = random(rng, SETS, size - 1, WIDTH).requires_grad_()
    found, expected = convolution(h, PTR, state), twin(convolution, h, PTR, state)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    upstream = [random(rng, *x.shape) for x in found]
    inputs = [h, convolution.weight, *([state] if size > 1 else [])]
    grads = [
        torch.autograd.grad(sum((x * u).sum() for x, u in zip(outs, upstream, strict=True)), inputs)
        for outs in (found, expected)
    ]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)
    assert all((grad != 0).any() for grad in grads[0])


def test_numbers_by_hand():
    convolution = ShortConvolution(2, 3)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[1.0, 2.0], [10.0, 0.0], [100.0, 0.0]]))
    h = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [4.0, 1.0]])
    out, state = convolution(h, torch.tensor([0, 3, 4]))
    assert out.tolist() == [[1.0, 2.0], [12.0, 2.0], [123.0, 2.0], [4.0, 2.0]]
    assert state.tolist() == [[[2.0, 1.0], [3.0, 1.0]], [[0.0, 0.0], [4.0, 1.0]]]


def test_gradcheck(rng):
    convolution, ptr = layer(3), torch.tensor([0, 4, 4, 5])
    h, state = random(rng, 5, WIDTH).requires_grad_(), random(rng, 3, 2, WIDTH).requires_grad_()

    def run(h, state, weight):
        return torch.func.functional_call(convolution, {"weight": weight}, (h, ptr, state))

    assert torch.autograd.gradcheck(run, (h, state, convolution.weight))


@SIZES
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_parts_with_the_state_handed_on_are_the_whole(rng, size, cut):
    convolution, h = layer(size), random(rng, TOKENS, WIDTH)
    state = random(rng, SETS, size - 1, WIDTH)
    whole, last = convolution(h, PTR, state)
    # Every set is cut at its own place, some before their first token or after their last.
    lengths = PTR.diff()
    early = torch.tensor([(3 * s + cut) % (n + 1) for s, n in enumerate(lengths.tolist())])
    parts = []
    for begin, length in ((PTR[:-1], early), (PTR[:-1] + early, lengths - early)):
        index = torch.cat([torch.arange(a, a + n) for a, n in zip(begin, length, strict=True)])
        out, state = convolution(
            h[index], torch.cat([torch.zeros(1, dtype=torch.long), length.cumsum(0)]), state
        )
        parts.append((index, out))
    joined = torch.empty_like(whole).fill_(torch.nan)
    for index, out in parts:
        joined[index] = out
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-14)
    assert torch.equal(state, last)


def test_token_by_token_is_the_whole(rng):
    convolution, h = layer(4), random(rng, 11, WIDTH)
    state, outs = convolution.start(1), []
    for token in h.split(1):
        out, state = convolution(token, None, state)
        outs.append(out)
    torch.testing.assert_close(torch.cat(outs), convolution(h)[0], rtol=0, atol=1e-14)


@SIZES
def test_a_packed_batch_equals_one_set_at_a_time(rng, size):
    convolution, h = layer(size), random(rng, TOKENS, WIDTH)
    out, state = convolution(h, PTR)
    for number, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone, own = convolution(h[a:b])
        torch.testing.assert_close(out[a:b], alone, rtol=0, atol=1e-14)
        assert torch.equal(state[number], own[0])


def test_a_token_hears_itself_and_the_few_before_it_in_its_set(rng):
    convolution, h = layer(3), random(rng, TOKENS, WIDTH).requires_grad_()
    out, _ = convolution(h, PTR)
    owner = torch.arange(SETS).repeat_interleave(PTR.diff())
    for i in range(TOKENS):
        (grad,) = torch.autograd.grad(out[i].sum(), h, retain_graph=True)
        back = i - torch.arange(TOKENS)
        heard = (back >= 0) & (back < 3) & (owner == owner[i])
        assert (grad[heard] != 0).all()
        assert (grad[~heard] == 0).all()


def test_it_begins_near_the_identity(rng):
    convolution = ShortConvolution(101, 3)
    assert (convolution.weight[0] == 1).all()
    assert 0.01 < convolution.weight[1:].std() < 0.04
    h = torch.randn(23, 101, generator=rng)
    assert (convolution(h)[0] - h).abs().max() < 0.5


def test_long_text_takes_memory_in_proportion():
    out, _ = ShortConvolution(2)(torch.ones(200_003, 2))  # a square of this length would not fit anywhere
    torch.testing.assert_close(out[2], out[-1])


def test_no_tokens_and_no_sets():
    convolution = layer(3)
    state = torch.ones(2, 2, WIDTH, dtype=torch.float64)
    out, same = convolution(torch.zeros(0, WIDTH).double(), torch.tensor([0, 0, 0]), state)
    assert out.shape == (0, WIDTH)
    assert torch.equal(same, state)
    out, none = convolution(torch.zeros(0, WIDTH).double(), torch.tensor([0]))
    assert out.shape == (0, WIDTH)
    assert none.shape == (0, 2, WIDTH)


def test_half_precision(rng):
    convolution, h = ShortConvolution(WIDTH), torch.randn(TOKENS, WIDTH, generator=rng)
    plain, _ = convolution(h, PTR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, state = convolution(h, PTR)
        again, _ = convolution(h.bfloat16(), PTR, state.bfloat16())
    torch.testing.assert_close(out, plain)
    assert again.isfinite().all()
    half, state = convolution.bfloat16()(h.bfloat16(), PTR)
    assert half.dtype == state.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), plain, rtol=0.02, atol=0.02)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"width must be at least 1 \(got 0\)"):
        ShortConvolution(0)
    with pytest.raises(ValueError, match=r"size must be at least 1 \(got 0\)"):
        ShortConvolution(3, 0)
    convolution, h = layer(3), torch.zeros(TOKENS, WIDTH).double()
    with pytest.raises(ValueError, match="ptr must rise from 0 to the number of tokens, 23"):
        convolution(h, torch.tensor([0, 22]))
    with pytest.raises(ValueError, match=r"state must be .* \[5, 2, 5\] \(got \[5, 3, 5\]\)"):
        convolution(h, PTR, torch.zeros(5, 3, WIDTH).double())


def test_the_sizes_are_shown():
    assert "width=5, size=3" in repr(layer())

import pytest
import torch

from structformer.ops import backend, force_backend, gather, naive, segment_max, segment_sum

RAGGED = torch.tensor([0, 3, 3, 10, 11, 23])
BACKENDS = ["torch"] if backend() == "torch" else ["torch", "scatter"]


@pytest.fixture(params=BACKENDS, autouse=True)
def _each_backend(request):
    with force_backend(request.param):
        yield


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def check_twin(fast, slow, src, *rest):
    out, expected = fast(src, *rest), slow(src, *rest)
    torch.testing.assert_close(out, expected)
    upstream = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, src, upstream)
    (expected_grad,) = torch.autograd.grad(expected, src, upstream)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize("features", [(), (5,), (5, 2)])
@pytest.mark.parametrize(
    ("fast", "slow"), [(segment_sum, naive.segment_sum), (segment_max, naive.segment_max)]
)
def test_reductions_equal_their_twins(fast, slow, features):
    check_twin(fast, slow, random(23, *features), RAGGED)


@pytest.mark.parametrize("features", [(), (5,), (5, 2)])
def test_gather_equals_its_twin(features):
    check_twin(gather, naive.gather, random(5, *features), RAGGED)


@pytest.mark.parametrize("function", [segment_sum, segment_max])
def test_reductions_pass_gradcheck(function):
    assert torch.autograd.gradcheck(lambda x: function(x, RAGGED), random(23, 2))


def test_gather_passes_gradcheck():
    assert torch.autograd.gradcheck(lambda x: gather(x, RAGGED), random(5, 2))


def test_sum_and_gather_can_be_differentiated_twice():
    assert torch.autograd.gradgradcheck(lambda x: segment_sum(x**2, RAGGED), random(23))
    assert torch.autograd.gradgradcheck(lambda x: gather(x**2, RAGGED), random(5))


def test_equal_largest_entries_share_the_gradient():
    src = torch.tensor([1.0, 4.0, 4.0, 2.0], requires_grad=True)
    segment_max(src, torch.tensor([0, 3, 4])).sum().backward()
    assert src.grad.tolist() == [0.0, 0.5, 0.5, 1.0]


def test_a_row_of_negative_entries_keeps_its_largest():
    assert segment_max(torch.tensor([-3.0, -2.0]), torch.tensor([0, 2])).tolist() == [-2.0]
    assert segment_max(torch.tensor([-torch.inf]), torch.tensor([0, 1])).tolist() == [-torch.inf]


@pytest.mark.parametrize("function", [segment_sum, segment_max])
def test_empty_rows_give_zeros(function):
    assert function(torch.ones(2), torch.tensor([0, 0, 2, 2])).tolist()[::2] == [0.0, 0.0]
    assert function(torch.ones(0, 3), torch.tensor([0, 0, 0])).tolist() == [[0.0] * 3] * 2
    assert function(torch.ones(0, 3), torch.tensor([0])).shape == (0, 3)


def test_gather_of_nothing():
    assert gather(torch.ones(2, 3), torch.tensor([0, 0, 0])).shape == (0, 3)
    assert gather(torch.ones(0, 3), torch.tensor([0])).shape == (0, 3)


def test_a_pointer_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"rowptr must end at the number of entries, 5 \(got 4\)"):
        segment_sum(torch.ones(5), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"rowptr must be \[rows \+ 1\]"):
        segment_max(torch.ones(5), torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match="one entry more than src has rows"):
        gather(torch.ones(5), torch.tensor([0, 4]))

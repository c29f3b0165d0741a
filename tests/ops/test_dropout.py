import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structformer.ops import dropout

COUNT = 1_000_003


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_share_is_dropped_and_the_mean_stays(p, dtype):
    torch.manual_seed(1)
    found = dropout(torch.ones(COUNT, dtype=dtype), p).double()
    share = float((found == 0).double().mean())
    deviation = (p * (1 - p) / COUNT) ** 0.5
    assert abs(share - p) < 5 * deviation + 1 / 65_536
    kept = found[found != 0]
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-4
    assert (kept == kept[0]).all()
    assert abs(float(kept[0]) * (1 - p) - 1) < tolerance


def test_entries_are_dropped_apart_from_each_other():
    torch.manual_seed(2)
    kept = (dropout(torch.ones(250_000, 4), 0.5) != 0).double()
    # Four of them share a drawn number, and others follow each other.
    flat = kept.flatten()
    pairs = torch.corrcoef(kept.T)[~torch.eye(4, dtype=torch.bool)]
    assert pairs.abs().max() < 0.01
    for lag in (1, 2, 3, 4, 5, 64):
        assert abs(float(torch.corrcoef(torch.stack([flat[lag:], flat[:-lag]]))[0, 1])) < 0.01


@given(st.lists(st.integers(0, 7), max_size=3), st.sampled_from([0.0, 0.3, 1.0]))
def test_any_shape(shape, p):
    x = torch.ones(shape)
    found = dropout(x, p)
    assert found.shape == x.shape
    if p in (0.0, 1.0):
        assert (found == 1 - p).all()


def test_gradients_are_dropped_alike():
    x = torch.randn(37, 5, dtype=torch.float64).requires_grad_()
    found = dropout(x, 0.4)
    found.sum().backward()
    torch.testing.assert_close(found.detach(), x.detach() * x.grad)


def test_slices_and_turned_tensors():
    torch.manual_seed(3)
    found = dropout(torch.ones(40, 30).T[::2], 0.5)
    assert found.shape == (15, 40)
    assert 0.3 < float((found == 0).double().mean()) < 0.7


def test_a_seed_decides():
    def drawn(seed):
        torch.manual_seed(seed)
        return dropout(torch.ones(1000), 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_outside_training_nothing_happens():
    x = torch.randn(5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_no_probability(p):
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        dropout(torch.ones(3), p)

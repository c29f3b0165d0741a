import pytest
import torch

from structformer.ops.search import limits
from structformer.ops.search.select import ascending, largest, order, upper


@pytest.fixture(params=[0, 10**6], autouse=True)
def _each_way_of_selecting(request, monkeypatch):
    monkeypatch.setattr(limits, "FEW_THREADS", request.param)


@pytest.mark.parametrize("places", [5, 97, 4099, 8192, 10_007])
@pytest.mark.parametrize("k", [1, 5, 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_largest(places, k, dtype, rng):
    k = min(k, places)
    scores = torch.stack([torch.randperm(places, generator=rng) for _ in range(6)]).view(2, 3, places)
    scores[0, 0] = torch.arange(places)  # the largest are the last, beyond the last whole group
    scores[0, 1] = torch.arange(places).flip(0)
    found = largest(scores.to(dtype), k)
    assert torch.equal(
        scores.gather(2, found).sort().values, torch.arange(places - k, places).expand(2, 3, k)
    )


def test_wide_rows_with_more_forbidden_than_allowed():
    scores = torch.full((1, 1, 5003), float("-inf"))
    scores[..., 4999:] = 1.0
    assert set(range(4999, 5003)) <= set(largest(scores, 7)[0, 0].tolist())


def test_values(rng):
    x = torch.randint(0, 1000, (7, 31), generator=rng)
    assert torch.equal(ascending(x), x.sort(dim=1).values)
    assert torch.equal(upper(x, 5).sort(dim=1).values, x.sort(dim=1).values[:, -5:])
    assert torch.equal(order(x[0] % 3), (x[0] % 3).argsort(stable=True))

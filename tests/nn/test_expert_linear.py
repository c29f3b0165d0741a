import math

import pytest
import torch
from torch.nn import functional as F

from structformer.nn import expert_linear
from structformer.nn.expert_linear import ExpertLinear, expert_path

needs_grouped = pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch has no grouped_mm")


@pytest.mark.parametrize("path", ["loop", pytest.param("grouped", marks=needs_grouped)])
def test_each_row_meets_the_map_of_its_expert(rng, path):
    maps, x = ExpertLinear(3, 8, 16), torch.randn(7, 8, generator=rng)
    expert = torch.tensor([0, 0, 0, 2, 2, 2, 2])
    expected = torch.einsum("ri,roi->ro", x, maps.weight[expert]) + maps.bias[expert]
    torch.testing.assert_close(maps(x, torch.tensor([3, 0, 4]), path), expected, rtol=1e-5, atol=1e-5)


def test_maps_start_as_linear_maps_do():
    ours = ExpertLinear(7, 101, 53)
    theirs = torch.nn.Linear(101, 53)
    for name in ("weight", "bias"):
        found, expected = getattr(ours, name), getattr(theirs, name)
        assert found[2].shape == expected.shape
        assert found.abs().max() < 1 / math.sqrt(101)
        torch.testing.assert_close(found.abs().max(), expected.abs().max(), rtol=0.1, atol=0)


@needs_grouped
def test_grouped_products_are_taken_where_they_work(monkeypatch):
    weight = torch.zeros(2, 16, 8)
    assert expert_path("grouped", torch.zeros(3, 8), weight) == "grouped"
    assert expert_path("grouped", torch.zeros(3, 8).bfloat16(), weight.bfloat16()) == "grouped"
    assert expert_path(None, torch.zeros(3, 8), weight) == "loop"
    with pytest.raises(ValueError, match=r'path "grouped" needs .*float64 on cpu.* take "loop"'):
        expert_path("grouped", torch.zeros(3, 8).double(), weight.double())
    with pytest.raises(ValueError, match=r"multiple of 16 bytes .*weights \[2, 16, 5\]"):
        expert_path("grouped", torch.zeros(3, 5), torch.zeros(2, 16, 5))
    elsewhere = torch.zeros(3, 8, device="meta"), weight.to("meta")
    for works, path in ((True, "grouped"), (False, "loop")):
        monkeypatch.setattr(expert_linear, "_grouped_works", lambda *_, works=works: works)
        assert expert_path(None, *elsewhere) == path


@needs_grouped
@pytest.mark.parametrize("without_gradients", [torch.no_grad, torch.inference_mode])
def test_the_trial_needs_no_gradients_around_it(without_gradients):
    expert_linear._grouped_works.cache_clear()
    with without_gradients():
        assert expert_path("grouped", torch.zeros(3, 8), torch.zeros(2, 16, 8)) == "grouped"


def test_an_older_torch_takes_the_loop(monkeypatch):
    expert_linear._grouped_works.cache_clear()
    monkeypatch.delattr(F, "grouped_mm", raising=False)
    with pytest.raises(ValueError, match='path "grouped" needs a torch'):
        expert_path("grouped", torch.zeros(3, 8), torch.zeros(2, 16, 8))
    expert_linear._grouped_works.cache_clear()


def test_an_unknown_path_is_refused():
    with pytest.raises(ValueError, match=r"path must be .* \(got 'bmm'\)"):
        expert_path("bmm", torch.zeros(3, 8), torch.zeros(2, 16, 8))

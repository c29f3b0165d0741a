import pytest
import torch

from structformer.ops import search_method
from structformer.ops.search import choose, limits


@pytest.mark.parametrize("installed", [True, False])
def test_by_size_and_by_what_there_is(installed, monkeypatch):
    monkeypatch.setattr(choose, "faiss_is_installed", lambda: installed)
    large = "ivf" if installed else "lsh"
    size = limits.CROSSOVER[large]
    assert search_method([size, size + 1, 5], k=32) == ["exact", large, "exact"]
    assert search_method(10**6, k=32, device="cuda") == ["lsh"]
    warm = limits.CROSSOVER["warm"]
    assert search_method(torch.tensor([warm, warm + 1]), k=32, start=True) == ["exact", "warm"]


def test_double_precision_is_exact_for_longer():
    size = limits.CROSSOVER_DOUBLE
    assert search_method([size], k=3, dtype=torch.float64) == ["exact"]
    assert search_method([size + 1], k=3, dtype=torch.float64) != ["exact"]


def test_few_targets_or_few_sources_are_compared_with_all():
    assert search_method([31, 10**6, 10**6], k=3, sources=[10**6, 31, 10**6])[:2] == ["exact", "exact"]


def test_where_most_sources_are_wanted_none_are_missed():
    assert search_method(10**5, k=10**5 // 4) == ["exact"]

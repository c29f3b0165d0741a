import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structformer.ops.search import limits
from structformer.ops.search.best import EMPTY, Best, decode, encode, ranks


def test_codes_sort_like_scores_then_like_lower_sources(rng):
    scores = torch.randn(97, generator=rng).round(decimals=1)
    cols = torch.randperm(97, generator=rng)
    order = encode(scores, cols).argsort(descending=True)
    expected = sorted(range(97), key=lambda e: (-float(scores[e]), int(cols[e])))
    assert [(float(scores[e]), int(cols[e])) for e in order] == [
        (float(scores[e]), int(cols[e])) for e in expected
    ]
    assert torch.equal(
        ranks(encode(scores.sort().values, cols)).diff() >= 0, torch.ones(96, dtype=torch.bool)
    )


def test_codes_give_sources_back():
    scores = torch.tensor([1.5, 0.0, -3e38, float("-inf"), 3e38])
    cols = torch.tensor([0, 2**30, 7, 5, 2**31 - 2])
    codes = torch.cat([encode(scores, cols), torch.tensor([EMPTY])])
    none = 2**31 - 1
    assert decode(codes, none).tolist() == [0, 2**30, 7, none, 2**31 - 2, none]


@pytest.mark.parametrize("cached", [1, 37, 10**6])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_holds_the_best_of_all_offers(cached, seed, monkeypatch):
    monkeypatch.setattr(limits, "CACHED", cached)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(7, 31, generator=generator)
    best = Best(7, 5, 31, torch.device("cpu"))
    seen = [set() for _ in range(7)]
    for width in (3, 11, 13):
        cols = torch.randint(0, 31, (7, width), generator=generator)
        codes = encode(scores.gather(1, cols), cols)
        codes[torch.rand(codes.shape, generator=generator) < 0.3] = EMPTY
        best.offer(codes)
        for row in range(7):
            seen[row] |= set(cols[row][codes[row] != EMPTY].tolist())
        best.sort()
        for row, found in enumerate(best.sources().tolist()):
            expected = sorted(seen[row], key=lambda j: -float(scores[row, j]))[:5]
            assert found == expected + [31] * (5 - len(expected))

import pytest
import torch
from structformer.tasks import efficiency_search
from structformer.tasks.efficiency_search import (
    METHODS,
    SearchSettings,
    large_set,
    one_set,
    padded_search,
    recall,
    refusals,
    small_sets,
)

from structformer import ops
from structformer.graph import TokenGraph

TINY = SearchSettings(
    width=5,
    tokens=307,
    neighbors=7,
    large_tokens=311,
    large_neighbors=3,
    sample=13,
    sets=11,
    set_size=17,
    set_neighbors=3,
    repeats=1,
)


def graph(pairs, tokens=5):
    """From (target, source) pairs."""
    return TokenGraph.from_edge_index(torch.tensor(pairs).T.flip(0), tokens)


def test_recall_counts_the_edges_found():
    exact = graph([(0, 1), (0, 2), (3, 4), (4, 0)])
    assert recall(exact, exact) == 1
    assert recall(graph([(0, 1), (1, 0), (3, 4), (2, 2)]), exact) == 0.5


def test_recall_of_a_sample_looks_at_its_targets_only():
    found = graph([(0, 1), (0, 2), (3, 4), (4, 1)])
    exact = TokenGraph(torch.tensor([0, 1, 3]), torch.tensor([0, 1, 2]), num_sources=5)
    # Row 0 of `exact` is token 4, whose edge was not found, and row 1 is token 0, whose two were.
    assert recall(found, exact, torch.tensor([4, 0])) == pytest.approx(2 / 3)


def test_the_padded_rival_finds_what_exact_search_finds(rng):
    x = torch.randn(11 * 17, 5, generator=rng)
    ptr = torch.arange(0, 11 * 17 + 1, 17)
    expected = ops.neighbors(x, x, 3, ptr, method="exact").col.view(-1, 3)
    assert torch.equal(padded_search(x, 17, 3).sort(dim=1).values, expected)


@pytest.mark.parametrize("search", [one_set, lambda settings, _: large_set(settings)])
def test_every_method_has_a_record_and_those_that_are_missing_say_why(search):
    records = search(TINY, 2)
    missing = refusals()
    arms = [arm for arm in METHODS if search is one_set or ", " not in arm]
    assert sorted(entry["arm"] for entry in records) == sorted(arms)
    for entry in records:
        if entry["arm"] in missing:
            assert entry["note"] == f"left out: {missing[entry['arm']]}"
            assert entry["milliseconds"] is None
        else:
            assert entry["milliseconds"] > 0
            assert 0.3 < entry["recall"] <= 1
    assert records[0]["arm"] == "exact"
    assert records[0]["recall"] == records[0]["ratio"] == 1


def test_a_method_the_library_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(efficiency_search, "METHODS", ("exact", "guess"))
    assert list(refusals()) == ["guess"]
    assert "guess" in one_set(TINY, 1)[-1]["note"]


@pytest.mark.skipif("ivf" in refusals(), reason="FAISS is not installed")
def test_a_recall_in_an_arms_name_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(ops, "neighbors", lambda *_, **options: asked.append(options))
    efficiency_search._search(torch.zeros(2, 2), 1, "ivf, recall 0.99")()
    efficiency_search._search(torch.zeros(2, 2), 1, "lsh")()
    assert asked == [{"method": "ivf", "recall": 0.99}, {"method": "lsh"}]


def test_the_time_of_a_sample_is_scaled_up(monkeypatch):
    monkeypatch.setattr(efficiency_search, "METHODS", ("exact",))
    monkeypatch.setattr(efficiency_search, "timed", lambda step: (26.0, step()))
    (exact,) = large_set(TINY)
    assert exact["milliseconds"] == pytest.approx(26 * 311 / 13)
    assert exact["note"] == "time of 13 targets, scaled up"


def test_small_sets_have_two_arms():
    records = small_sets(TINY, 1)
    assert [entry["arm"] for entry in records] == ["exact", "bmm + topk"]
    assert {entry["tokens"] for entry in records} == {187}
    assert records[1]["ratio"] == pytest.approx(records[1]["milliseconds"] / records[0]["milliseconds"])


def test_a_small_set_must_have_as_many_tokens_as_are_wanted():
    with pytest.raises(ValueError, match=r"set_neighbors must be at most set_size, 7 \(got 11\)"):
        SearchSettings(set_size=7, set_neighbors=11)

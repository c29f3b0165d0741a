import copy

import pytest
import torch

from structformer.ops.search import descent, limits
from structformer.ops.search.best import EMPTY, Best, decode, encode, ranks
from structformer.ops.search.descent import descend, score
from structformer.ops.search.parts import Parts

K, TOKENS = 7, 97
SPANS = torch.tensor([[0, 41], [41, 97]])


@pytest.fixture(autouse=True)
def _few_friends(monkeypatch):
    """So few that each limit leaves something out."""
    for name, value in {"_SOURCES": 3, "_HEARD": 2, "_LISTENERS": 2, "_TAKEN": 4}.items():
        monkeypatch.setattr(descent, name, value)


def make(rng, causal=False, skip_self=False, is_square=True, targets=SPANS):
    query = torch.randn(TOKENS, 5, generator=rng)
    key = query if is_square else torch.randn(TOKENS, 5, generator=rng)
    return Parts(query, key, targets, SPANS, K, causal, skip_self, is_square)


def start(parts, rng):
    """For every target some random sources that it may listen to; for some targets fewer than wanted."""
    target = parts.targets()
    first, last = parts.cols.repeat_interleave(parts.rows.diff()[:, 0], dim=0).unbind(1)
    drawn = torch.rand(len(target), K, generator=rng) * (last - first)[:, None]
    cols = first[:, None] + drawn.long()
    gone = ~parts.allowed(target[:, None], cols) | (torch.rand(cols.shape, generator=rng) < 0.2)
    best = Best(len(target), K, TOKENS, target.device)
    best.offer(score(parts, target, cols.masked_fill(gone, TOKENS)))
    return best


def twin(parts, best):
    """The same, source by source and friend by friend."""
    target, products = parts.targets().tolist(), (parts.query @ parts.key.T).double()
    best = copy.deepcopy(best)
    best.sort()
    heard = [[s for s in row if s < TOKENS] for row in best.sources().tolist()]
    row_of = {t: row for row, t in enumerate(target)}
    listeners = {}
    for row, sources in enumerate(heard):
        for source in sources[: 2 * descent._SOURCES]:
            listeners.setdefault(source, []).append((-float(products[target[row], source]), row))
    rows = []
    for row, sources in enumerate(heard):
        friends = [
            r for s in sources[: descent._HEARD] for _, r in sorted(listeners[s])[: descent._LISTENERS]
        ]
        if parts.is_square:
            friends += [row_of[s] for s in sources[: descent._SOURCES] if s in row_of]
        candidates = {s for friend in friends for s in heard[friend][: descent._TAKEN]}
        own = torch.tensor(target[row])
        candidates = {s for s in candidates if bool(parts.allowed(own, torch.tensor(s)))} | {*sources}
        rows.append(set(sorted(candidates, key=lambda s, own=own: -float(products[own, s]))[:K]))
    return rows


@pytest.mark.parametrize("cached", [1, 211, 10**6])
@pytest.mark.parametrize("mode", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("is_square", [True, False])
def test_every_target_is_offered_what_its_friends_hear(rng, cached, mode, is_square, monkeypatch):
    monkeypatch.setattr(limits, "CACHED", cached)
    parts = make(rng, *mode, is_square)
    best = start(parts, rng)
    before = best.sources()
    expected = twin(parts, best)
    descend(parts, parts.targets(), best)
    found = [{s for s in row if s < TOKENS} for row in best.sources().tolist()]
    assert found == expected
    assert found != [{s for s in row if s < TOKENS} for row in before.tolist()]


def test_targets_that_are_not_searched_are_no_friends(rng):
    """As in time, where the earlier half of a part are sources alone."""
    parts = make(rng, causal=True, targets=torch.tensor([[20, 41], [68, 97]]))
    best = start(parts, rng)
    expected = twin(parts, best)
    descend(parts, parts.targets(), best)
    assert [{s for s in row if s < TOKENS} for row in best.sources().tolist()] == expected


def test_candidates_are_scored_by_their_products(rng):
    parts = make(rng, is_square=False)
    target, cols = torch.tensor([3, 50, 96]), torch.tensor([[5, 97, 0], [97, 97, 97], [41, 60, 96]])
    codes = score(parts, target, cols)
    assert torch.equal(decode(codes, TOKENS), cols)
    assert (codes[cols == TOKENS] == EMPTY).all()
    there = cols < TOKENS
    products = (parts.query[target] @ parts.key.T).gather(1, cols.clamp(max=96))
    expected = ranks(encode(products, cols))[there]
    assert ((ranks(codes)[there] - expected).abs() <= 16).all(), "the same but for the last bits"


@pytest.mark.parametrize("num_sources", [23, 2**30 + 1])
def test_what_is_known_or_stands_twice_is_no_candidate(num_sources):
    none = num_sources
    candidates = torch.tensor([[5, 2, 5, none, 9], [none, 3, 3, 3, none], [1, 2, 3, 4, none]])
    known = torch.tensor([[9, none], [none, none], [3, 0]])
    fresh = descent._fresh(candidates, known, num_sources)
    rows = [[s for s in row if s != none] for row in fresh.tolist()]
    assert rows == [[2, 5], [3], [1, 2, 4]]
    assert fresh.dtype == torch.long

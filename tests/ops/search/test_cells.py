import pytest
import torch

from structformer.ops.search import limits
from structformer.ops.search.best import Best, encode
from structformer.ops.search.cells import offer_cells
from structformer.ops.search.hashing import Buckets, embed
from structformer.ops.search.parts import Parts, spread

K = 5
# Two parts, whose targets are the later half of their sources, as where only earlier sources count.
ROWS, COLS = torch.tensor([[61, 113], [170, 227]]), torch.tensor([[0, 113], [113, 227]])


@pytest.fixture(autouse=True)
def _cells_of_more_and_less_than_wanted(monkeypatch):
    monkeypatch.setattr(limits, "CELL", 7)


def make(clustered, causal, skip_self):
    query, key = clustered(227, seed=1, dtype=torch.float32), clustered(227, seed=2, dtype=torch.float32)
    parts = Parts(query, key, ROWS, COLS, K, causal, skip_self, is_square=False)
    source = spread(COLS)
    return parts, Buckets(parts, source, *embed(parts, source), torch.Generator().manual_seed(0))


def twin(parts, buckets, probes, known):
    """The best of all that lies in the cells that a target probes, and of what it knows, one by one."""
    spans, rows = buckets.key_spans().tolist(), []
    for target, chunks, own in zip(
        parts.targets().tolist(), buckets.probe(probes).tolist(), known, strict=True
    ):
        held = {int(s) for chunk in chunks if chunk >= 0 for s in buckets.source[slice(*spans[chunk])]}
        held = {
            s for s in held if not (parts.causal and s > target) and not (parts.skip_self and s == target)
        }
        rows.append(sorted(held | own, key=lambda s: -float(parts.query[target] @ parts.key[s]))[:K])
    return rows


def found(best):
    return [{s for s in row if s < best.num_sources} for row in best.sources().tolist()]


@pytest.mark.parametrize("cached", [1, 997, 10**6])
@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("skip_self", [False, True])
def test_every_target_gets_the_best_of_its_cells(cached, probes, causal, skip_self, clustered, monkeypatch):
    monkeypatch.setattr(limits, "CACHED", cached)
    parts, buckets = make(clustered, causal, skip_self)
    target = parts.targets()
    best = Best(len(target), K, 227, target.device)
    offer_cells(parts, target, buckets, best, probes)
    assert found(best) == [set(row) for row in twin(parts, buckets, probes, [set()] * len(target))]
    sizes = buckets.key_spans().diff()
    assert int(sizes.min()) < K < int(sizes.max()) - 1


def test_what_was_known_stays_among_the_best(clustered):
    parts, buckets = make(clustered, False, True)
    target = parts.targets()
    best = Best(len(target), K, 227, target.device)
    known = [{int(a), int(a) + 7} for a in COLS[:, 0].repeat_interleave(ROWS.diff()[:, 0])]
    cols = torch.tensor([sorted(row) for row in known])
    best.offer(encode((parts.query[target][:, None] * parts.key[cols]).sum(2), cols))
    offer_cells(parts, target, buckets, best, 2)
    assert found(best) == [set(row) for row in twin(parts, buckets, 2, known)]


def test_targets_whose_cells_are_empty_get_nothing(clustered):
    parts, buckets = make(clustered, False, False)
    buckets.probe = lambda probes: torch.full((len(parts.targets()), probes), -1)
    best = Best(len(parts.targets()), K, 227, torch.device("cpu"))
    offer_cells(parts, parts.targets(), buckets, best, 3)
    assert found(best) == [set()] * len(parts.targets())

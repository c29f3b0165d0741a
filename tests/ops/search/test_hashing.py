import pytest
import torch

from structformer.ops.search import limits
from structformer.ops.search.hashing import Buckets, embed
from structformer.ops.search.parts import Parts

pytestmark = pytest.mark.usefixtures("_tiny")


def make(query, key, ptr):
    spans = torch.stack([ptr[:-1], ptr[1:]], dim=1)
    parts = Parts(query.float(), key.float(), spans, spans, 5, False, False, True)
    source = torch.arange(len(key))
    vectors = embed(parts, source)
    return vectors, Buckets(parts, source, *vectors, torch.Generator().manual_seed(0))


def test_the_largest_product_is_the_smallest_distance(rng):
    query = torch.randn(31, 5, generator=rng)
    key = torch.randn(31, 5, generator=rng) * torch.rand(31, 1, generator=rng)
    ptr = torch.tensor([0, 13, 31])
    (query_on, key_on), _ = make(query, key, ptr)
    for a, b in ((0, 13), (13, 31)):
        distance = torch.cdist(query_on[a:b], key_on[a:b])
        assert torch.equal(distance.argsort(1), (query[a:b] @ key[a:b].T).argsort(1, descending=True))


@pytest.mark.parametrize("cell", [2, 17, 64])
def test_every_key_lies_in_one_chunk_and_queries_like_keys_find_it(cell, clustered, monkeypatch):
    monkeypatch.setattr(limits, "CELL", cell)
    x, ptr = clustered(307), torch.tensor([0, 101, 307])
    _, buckets = make(x, x, ptr)
    spans = buckets.key_spans()
    assert torch.equal(spans[1:, 0], spans[:-1, 1])
    assert (int(spans[0, 0]), int(spans[-1, 1])) == (0, 307)
    assert 0 < int(spans.diff().min()) <= int(spans.diff().max()) <= 2 * cell
    assert torch.equal(buckets.source.sort().values, torch.arange(307))
    chunk = torch.empty(307, dtype=torch.long)
    chunk[buckets.source] = torch.arange(len(spans)).repeat_interleave(spans.diff()[:, 0])
    # A query is embedded by other sums than the same key: at the edges of chunks rounding decides, and of
    # chunks of three or four keys many lie there.
    assert (buckets.probe(1)[:, 0] == chunk).double().mean() > (0.75 if cell == 2 else 0.98)
    for chunks in (buckets.probe(3)[:101].unique(), buckets.probe(3)[101:].unique()):
        inside = [buckets.source[a:b] for a, b in spans[chunks[chunks >= 0]].tolist()]
        assert len({int(t >= 101) for part in inside for t in part}) == 1


def test_each_bucket_is_asked_once(clustered):
    x = clustered(307)
    _, buckets = make(x, x, torch.tensor([0, 307]))
    probes = buckets.probe(3)
    for row in probes.tolist():
        asked = [chunk for chunk in row if chunk >= 0]
        assert len(asked) == len(set(asked)) > 0

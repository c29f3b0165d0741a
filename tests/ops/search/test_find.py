"""Every method keeps the same promises, whatever it misses."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import naive, neighbor_recall, neighbors
from structformer.ops.search import find as find_module
from structformer.ops.search import limits

pytestmark = pytest.mark.usefixtures("_tiny")
MODES = [
    {},
    {"causal": True},
    {"include_self": True},
    {"exclude_self": True},
    {"causal": True, "include_self": True},
    {"causal": True, "exclude_self": True},
]
METHODS = ["ivf", "lsh", "warm"]
PTR = torch.tensor([0, 3, 3, 134, 137, 240, 253])  # sets of 3, 0, 131, 3, 103 and 13 tokens


def options(method, query, key, ptr=PTR, key_ptr=None, **mode):
    """For "warm", the graph of vectors that have moved since."""
    if method != "warm":
        return {"method": method}
    noise = torch.randn(query.shape, generator=torch.Generator().manual_seed(9), dtype=query.dtype)
    moved = query + 0.05 * query.abs().max() * noise
    return {"method": method, "start": neighbors(moved, key, 5, ptr, key_ptr, method="exact", **mode)}


def candidates(mode, ptr=PTR):
    """How many sources each token has."""
    size = ptr.diff().repeat_interleave(ptr.diff())
    place = torch.arange(int(ptr[-1])) - ptr[:-1].repeat_interleave(ptr.diff())
    return (place + 1 if mode.get("causal") else size) - int("include_self" in mode or "exclude_self" in mode)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_promises(method, mode, dtype, clustered):
    query = clustered(253, seed=1, dtype=dtype)
    key = (query + 0.1 * clustered(253, seed=2, dtype=dtype)) * torch.linspace(0.7, 1.3, 253)[:, None].to(
        dtype
    )
    graph = neighbors(query, key, 5, PTR, **options(method, query, key, **mode), **mode)
    row, col = graph.row, graph.col
    expected = candidates(mode).clamp(max=5) + int("include_self" in mode)
    assert torch.equal(graph.degree(), expected)
    set_of = torch.arange(6).repeat_interleave(PTR.diff())
    assert torch.equal(set_of[row], set_of[col])
    assert ((row * 253 + col).diff() > 0).all()  # ascending, nothing twice
    if "causal" in mode:
        assert (col <= row).all()
    loops = int((row == col).sum())
    assert loops == 253 if "include_self" in mode else "exclude_self" not in mode or loops == 0
    others = {"causal": "causal" in mode, "exclude_self": "include_self" in mode or "exclude_self" in mode}
    assert neighbor_recall(graph, query, key, 5, PTR, **others) > 0.9


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_ivf_of_full_recall_is_the_twin(mode, clustered):
    query, key = clustered(253, seed=1), clustered(253, seed=2)
    graph = neighbors(query, key, 5, PTR, method="ivf", recall=1.0, **mode)
    assert torch.equal(graph.col, naive.neighbors(query, key, 5, PTR, **mode).col)


@pytest.mark.parametrize("method", ["ivf", "lsh", "warm"])
def test_new_tokens_listen_to_known_ones(method, clustered):
    query, key = clustered(113, seed=1), clustered(241, seed=1)
    ptr, key_ptr = torch.tensor([0, 47, 50, 113]), torch.tensor([0, 109, 112, 241])
    graph = neighbors(query, key, 5, ptr, key_ptr, **options(method, query, key, ptr, key_ptr))
    assert torch.equal(graph.degree(), torch.tensor([5] * 47 + [3] * 3 + [5] * 63))
    assert neighbor_recall(graph, query, key, 5, ptr, key_ptr) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_given_edges_are_kept(method, clustered):
    x = clustered(253)
    far = TokenGraph.from_edge_index(torch.tensor([[3, 133], [130, 3]]), 253)
    graph = neighbors(x, x, 5, PTR, given=far, **options(method, x, x))
    edges = list(zip(graph.row[graph.given].tolist(), graph.col[graph.given].tolist(), strict=True))
    assert edges == [(3, 133), (130, 3)]


@pytest.mark.parametrize("method", METHODS)
def test_repeats_itself_and_follows_the_generator(method, clustered):
    x = clustered(251, noise=0.5)
    arguments = options(method, x, x, torch.tensor([0, 251])) | {"recall": 0.3}

    def edges(seed):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return neighbors(x, x, 3, generator=generator, **arguments | {"rounds": 0}).col

    assert torch.equal(edges(None), edges(None))
    assert torch.equal(edges(3), edges(3))
    if method != "ivf":
        assert not torch.equal(edges(3), edges(5))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", [{}, {"causal": True, "include_self": True}], ids=str)
@pytest.mark.parametrize("method", ["exact", *METHODS])
def test_two_searches_find_the_same(method, mode, threads, clustered, monkeypatch):
    monkeypatch.setattr(limits, "CACHED", 10**6)  # blocks so large that threads share them
    x, ptr = (
        clustered(1259, affinity=13, clusters=31, noise=0.5, dtype=torch.float32),
        torch.tensor([0, 1259]),
    )
    arguments = options(method, x, x, ptr, **mode) | mode
    try:
        torch.set_num_threads(threads)
        first, second = (neighbors(x, x, 5, ptr, **arguments) for _ in range(2))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(first.rowptr, second.rowptr)
    assert torch.equal(first.col, second.col)


@pytest.mark.parametrize("mode", [{}, {"causal": True}], ids=str)
def test_what_is_missed_is_filled_up_exactly(mode, clustered, monkeypatch):
    query, key = clustered(253, seed=1), clustered(253, seed=2)

    def blind(parts, *_):
        found = torch.full((len(parts.targets()), parts.k), len(parts.key))
        found[:, 0] = parts.cols[:, 0].repeat_interleave(parts.rows.diff()[:, 0])
        return found

    monkeypatch.setattr(find_module, "lsh", blind)
    graph = neighbors(query, key, 5, PTR, method="lsh", **mode)
    assert torch.equal(graph.col, naive.neighbors(query, key, 5, PTR, **mode).col)


def test_small_sets_are_exact_beside_large_ones(clustered):
    query, key = clustered(253, seed=1), clustered(253, seed=2)
    graph = neighbors(query, key, 3, PTR, method="lsh", rounds=0)
    exact = neighbors(query, key, 3, PTR, method="exact")
    for a, b in ((0, 3), (134, 137)):
        assert torch.equal(
            graph.col[graph.rowptr[a] : graph.rowptr[b]], exact.col[exact.rowptr[a] : exact.rowptr[b]]
        )
    assert not torch.equal(graph.col, exact.col)


def test_auto_is_exact_up_to_the_crossover(clustered, monkeypatch):
    used = []
    for name in ("ivf", "lsh"):
        function = getattr(find_module, name)
        monkeypatch.setattr(find_module, name, lambda *a, f=function: used.append(1) or f(*a))
    for size, dtype, is_exact in (
        (37, torch.float32, True),
        (41, torch.float32, False),
        (73, torch.float64, True),
        (79, torch.float64, False),
    ):
        x = clustered(size, dtype=dtype)
        used.clear()
        neighbors(x, x, 3)
        assert bool(used) != is_exact


@given(seed=st.integers(0, 10**6))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hashing_permutes_with_the_tokens(seed, clustered, shuffled):
    query, key = clustered(253, seed=1), clustered(253, seed=2)
    perm = shuffled(PTR, seed)
    before = neighbors(query, key, 5, PTR, method="lsh", rounds=1)
    after = neighbors(query[perm], key[perm], 5, PTR, method="lsh", rounds=1)
    moved = TokenGraph.from_edge_index(torch.stack([perm[after.col], perm[after.row]]), 253)
    assert torch.equal(moved.col, before.col)


def test_sets_do_not_see_each_other(clustered):
    """The same set beside another finds the same sources."""
    x = clustered(240)
    ptr = torch.tensor([0, 113, 240])
    together = neighbors(x, x, 5, ptr, method="lsh")
    # The rotations are as many as the largest set needs, so that the larger one sees the same ones alone.
    alone = neighbors(x[113:], x[113:], 5, method="lsh")
    assert torch.equal(together.col[together.rowptr[113] :] - 113, alone.col)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_length_of_vectors(method, scale, clustered):
    x = clustered(253) * scale
    graph = neighbors(x, x, 5, PTR, **options(method, x, x))
    assert neighbor_recall(graph, x / scale, x / scale, 5, PTR) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_vectors_that_are_all_the_same(method):
    for x in (torch.ones(151, 3), torch.zeros(151, 3)):
        graph = neighbors(x, x, 5, exclude_self=True, **options(method, x, x, torch.tensor([0, 151])))
        assert (graph.degree() == 5).all()

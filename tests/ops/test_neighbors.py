from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops import naive, neighbors
from structformer.ops.search import limits


@pytest.fixture(params=["numpy", "torch"], autouse=True)
def _each_way_of_selecting(request, monkeypatch):
    monkeypatch.setattr(limits, "FEW_THREADS", 10**6 if request.param == "numpy" else 0)


# The fixture is the same for every example.
FIXTURE = [HealthCheck.function_scoped_fixture]
MODES = [
    {},
    {"causal": True},
    {"include_self": True},
    {"exclude_self": True},
    {"causal": True, "include_self": True},
    {"causal": True, "exclude_self": True},
]


def pointer(*sizes):
    return torch.tensor([0, *sizes]).cumsum(0)


def vectors(tokens, affinity=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, affinity, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1).to(dtype)


def rows(graph):
    bounds = graph.rowptr.tolist()
    return [graph.col[a:b].tolist() for a, b in pairwise(bounds)]


def check_same(graph, expected):
    assert rows(graph) == rows(expected)
    assert graph.num_sources == expected.num_sources
    assert (graph.given is None) == (expected.given is None)
    if graph.given is not None:
        assert torch.equal(graph.given, expected.given)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("k", [0, 1, 3, 7, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_twin_on_ragged_sets(mode, k, dtype):
    ptr = pointer(5, 0, 1, 13, 2, 7, 11, 0)
    query, key = vectors(39, seed=1, dtype=dtype), vectors(39, seed=2, dtype=dtype)
    check_same(neighbors(query, key, k, ptr, **mode), naive.neighbors(query, key, k, ptr, **mode))


@pytest.mark.parametrize("mode", MODES, ids=str)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), k=st.integers(0, 6), seed=st.integers(0, 10**6)
)
@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURE)
def test_equals_the_twin_among_ties(mode, sizes, k, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randint(-1, 2, (2, sum(sizes), 2), generator=generator).double()
    ptr = pointer(*sizes)
    check_same(neighbors(query, key, k, ptr, **mode), naive.neighbors(query, key, k, ptr, **mode))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_one_set_without_boundaries(mode):
    query, key = vectors(23, seed=1), vectors(23, seed=2)
    check_same(neighbors(query, key, 4, **mode), naive.neighbors(query, key, 4, **mode))


@pytest.mark.parametrize("k", [2, 30])
def test_new_tokens_listen_to_known_ones(k):
    query, key = vectors(11, seed=1), vectors(17, seed=2)
    ptr, key_ptr = pointer(3, 0, 8), pointer(7, 4, 6)
    graph = neighbors(query, key, k, ptr, key_ptr)
    check_same(graph, naive.neighbors(query, key, k, ptr, key_ptr))
    check_same(neighbors(query, key, k), naive.neighbors(query, key, k))
    assert (graph.num_targets, graph.num_sources) == (11, 17)


def random_given(ptr, count, seed=0):
    """Edges that stay inside their sets, in a random selection."""
    set_of = torch.repeat_interleave(torch.arange(len(ptr) - 1), ptr.diff())
    row, col = (set_of[:, None] == set_of).nonzero().T
    some = torch.randperm(len(row), generator=torch.Generator().manual_seed(seed))[:count]
    return TokenGraph.from_edge_index(torch.stack([col[some], row[some]]), int(ptr[-1]))


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("k", [0, 2, 20])
@pytest.mark.parametrize("count", [0, 19, 10**6])
def test_given_edges_are_kept_and_marked(mode, k, count):
    ptr = pointer(5, 0, 1, 11, 6)
    query, key, given_graph = vectors(23, seed=1), vectors(23, seed=2), random_given(ptr, count)
    graph = neighbors(query, key, k, ptr, given=given_graph, **mode)
    check_same(graph, naive.neighbors(query, key, k, ptr, given=given_graph, **mode))
    assert graph.ptr is ptr


@pytest.mark.parametrize("mode", MODES, ids=str)
@given(
    sizes=st.lists(st.integers(0, 11), min_size=1, max_size=4),
    k=st.integers(0, 6),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURE)
def test_given_edges_go_first_among_ties(mode, sizes, k, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randint(-1, 2, (2, sum(sizes), 2), generator=generator).double()
    ptr = pointer(*sizes)
    some = random_given(ptr, 3 * sum(sizes), seed)
    check_same(
        neighbors(query, key, k, ptr, given=some, **mode),
        naive.neighbors(query, key, k, ptr, given=some, **mode),
    )


def test_self_comes_in_addition_to_the_others():
    graph = neighbors(vectors(23), vectors(23), 4, include_self=True)
    assert (graph.degree() == 5).all()
    assert all(i in row for i, row in enumerate(rows(graph)))
    assert rows(neighbors(vectors(7), vectors(7), 0, include_self=True)) == [[i] for i in range(7)]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_nothing_and_next_to_nothing(mode):
    assert rows(neighbors(vectors(0), vectors(0), 3, **mode)) == []
    assert rows(neighbors(vectors(0), vectors(0), 3, pointer(0, 0), **mode)) == []
    alone = [] if "exclude_self" in mode else [0]
    assert rows(neighbors(vectors(1), vectors(1), 3, **mode)) == [alone]
    if not mode:
        assert rows(neighbors(vectors(2), vectors(0), 3)) == [[], []]
        assert rows(neighbors(vectors(0), vectors(2), 1)) == []


@pytest.mark.parametrize("mode", MODES[2:4], ids=str)
@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURE)
def test_permuting_tokens_permutes_the_graph(mode, seed, data):
    ptr = pointer(4, 9)
    query, key = vectors(13, seed=seed), vectors(13, seed=seed + 1)
    inside = [data.draw(st.permutations(range(a, b))) for a, b in ((0, 4), (4, 13))]
    perm = torch.tensor(inside[0] + inside[1])
    before = rows(neighbors(query, key, 3, ptr, **mode))
    after = rows(neighbors(query[perm], key[perm], 3, ptr, **mode))
    for i, row in enumerate(after):
        assert sorted(perm[row].tolist()) == before[perm[i]]


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURE)
def test_a_set_does_not_depend_on_the_sets_beside_it(seed, data):
    """Repeated vectors make exact ties, and a product in a larger batch may round them differently."""
    generator = torch.Generator().manual_seed(seed)
    sizes = data.draw(st.lists(st.integers(1, 19), min_size=2, max_size=7))
    ptr, few = pointer(*sizes), vectors(6, affinity=16, seed=seed)
    pick = torch.randint(0, 6, (int(ptr[-1]),), generator=generator)
    query, key = few[pick], few.flip(0)[pick]
    together = rows(neighbors(query, key, 4, ptr, include_self=True))
    for a, b in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        alone = rows(neighbors(query[a:b], key[a:b], 4, include_self=True))
        assert [[j + a for j in row] for row in alone] == together[a:b]


def test_differences_of_rounding_are_ties():
    key = torch.ones(7, 1, dtype=torch.float64)
    key[5] += 1e-14
    assert rows(neighbors(key[:1], key, 2)) == [[0, 1]]
    key[5] += 1e-8
    assert rows(neighbors(key[:1], key, 2)) == [[0, 5]]
    assert rows(neighbors(0 * key[:1], key, 2)) == [[0, 1]]  # everything ties with a zero vector


def test_no_gradient_is_recorded():
    query = vectors(7).requires_grad_()
    graph = neighbors(query, query, 2)
    assert graph.weight is None
    assert not graph.col.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_searched_in_single(dtype):
    query, key = vectors(13, seed=1, dtype=dtype), vectors(13, seed=2, dtype=dtype)
    check_same(neighbors(query, key, 3), neighbors(query.float(), key.float(), 3))


X = torch.ones(5, 3)
EMPTY = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": -1}, r"k must not be negative \(got -1\)"),
        ({"method": "tree"}, r"""method must be "auto", "exact", "ivf", "lsh" or "warm" \(got 'tree'\)"""),
        ({"recall": 0.0}, r"recall must be above 0 and at most 1 \(got 0.0\)"),
        ({"recall": 1.01}, r"recall must be above 0 and at most 1 \(got 1.01\)"),
        ({"rounds": -1}, r"rounds must not be negative \(got -1\)"),
        ({"method": "warm"}, "needs a graph to start from"),
        ({"method": "lsh", "start": EMPTY}, r"""start goes with method "auto" or "warm" \(got 'lsh'\)"""),
        ({"start": random_given(pointer(4), 3)}, r"start must have 5 targets and 5 sources \(got 4 and 4\)"),
        (
            {"ptr": pointer(2, 3), "start": TokenGraph.from_edge_index(torch.tensor([[3], [0]]), 5)},
            "start edge 3 → 0 joins two sets",
        ),
        ({"key": torch.ones(5, 2)}, "of the same affinity and type"),
        ({"key": torch.ones(5, 3, dtype=torch.float64)}, "of the same affinity and type"),
        ({"query": X.index_fill(0, torch.tensor(3), torch.nan)}, r"query must be finite \(token 3 is not\)"),
        ({"key": X.index_fill(0, torch.tensor(2), torch.inf)}, r"key must be finite \(token 2 is not\)"),
        ({"ptr": torch.tensor([0, 4])}, r"ptr must run from 0 to the number of tokens, 5 \(got \[0, 4\]\)"),
        ({"ptr": torch.tensor([1, 5])}, "ptr must run from 0"),
        ({"ptr": torch.tensor([0, 4, 2, 5])}, r"ptr must not fall \(got \[0, 4, 2, 5\]\)"),
        ({"ptr": torch.tensor([0, 5]), "key_ptr": torch.tensor([0, 2, 5])}, r"as many sets \(got 1 and 2\)"),
        ({"key_ptr": torch.tensor([0, 2, 5])}, "without ptr there is 1"),
        ({"key": torch.ones(4, 3), "causal": True}, "need sources that are the targets"),
        ({"key": torch.ones(4, 3), "include_self": True}, "need sources that are the targets"),
        ({"include_self": True, "exclude_self": True}, "contradict each other"),
        ({"given": random_given(pointer(4), 3)}, r"given must have 5 targets and 5 sources \(got 4 and 4\)"),
        (
            {"ptr": pointer(2, 3), "given": TokenGraph.from_edge_index(torch.tensor([[4], [1]]), 5)},
            "given edge 4 → 1 joins two sets",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        neighbors(**({"query": X, "key": X, "k": 2} | arguments))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_beyond_the_largest_number_are_still_compared(dtype):
    ptr, x = pointer(5, 8), vectors(13, dtype=dtype)
    x[:, 0] = 1.0
    huge = x * torch.finfo(dtype).max
    for mode in MODES:
        check_same(neighbors(-huge, huge, 3, ptr, **mode), neighbors(-x, x, 3, ptr, **mode))


def test_long_vectors_in_other_sets_do_not_blur_short_ones():
    ptr, query, key = pointer(9, 8, 9), vectors(26, seed=1), vectors(26, seed=2)
    expected = rows(neighbors(query, key, 3, ptr))
    key[17:] *= 1e11  # what the padding of the middle set reads
    assert rows(neighbors(query, key, 3, ptr)) == expected

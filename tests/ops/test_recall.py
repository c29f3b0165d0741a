import math

import pytest
import torch

from structformer.graph import TokenGraph
from structformer.ops import naive, neighbor_recall, neighbors

PTR = torch.tensor([0, 2, 31, 31, 48])
MODES = [{}, {"causal": True}, {"exclude_self": True}, {"causal": True, "exclude_self": True}]


def vectors(tokens, seed):
    return torch.randn(tokens, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("k", [1, 3, 40])
def test_counts_like_the_twin(mode, k, rng):
    query, key = vectors(48, 1), vectors(48, 2)
    graph = naive.neighbors(query, key, k, PTR, **mode)
    assert neighbor_recall(graph, query, key, k, PTR, **mode) == 1.0
    keep = torch.rand(graph.num_edges, generator=rng) < 0.6
    part = TokenGraph.from_edge_index(torch.stack([graph.col[keep], graph.row[keep]]), 48)
    wanted = graph.degree()
    share = (part.degree() / wanted.clamp(min=1))[wanted > 0].double().mean()
    assert neighbor_recall(part, query, key, k, PTR, **mode) == pytest.approx(float(share))


def test_own_and_later_sources_do_not_count():
    x = torch.tensor([[1.0], [2.0], [4.0]])
    loops = TokenGraph.from_edge_index(torch.tensor([[0, 1, 2], [0, 1, 2]]), 3)
    assert neighbor_recall(loops, x, x, 1, exclude_self=True) == 0.0
    assert neighbor_recall(loops, x, x, 1, causal=True) == 1.0
    assert neighbor_recall(loops, x, x, 1) == pytest.approx(1 / 3)


def test_a_sample_is_part_of_all():
    query, key = vectors(48, 1), vectors(48, 2)
    exact = neighbors(query, key, 3, PTR)
    first = TokenGraph(exact.rowptr.clamp(max=int(exact.rowptr[31])), exact.col[: exact.rowptr[31]], 48)
    assert neighbor_recall(first, query, key, 3, PTR) == pytest.approx(31 / 48)
    shares = {
        neighbor_recall(first, query, key, 3, PTR, sample=11, generator=torch.Generator().manual_seed(seed))
        for seed in range(5)
    }
    assert len(shares) > 1
    assert neighbor_recall(first, query, key, 3, PTR, sample=11) == neighbor_recall(
        first, query, key, 3, PTR, sample=11
    )


def test_new_tokens_and_nothing_at_all():
    query, key = vectors(11, 1), vectors(17, 2)
    ptr, key_ptr = torch.tensor([0, 4, 11]), torch.tensor([0, 17, 17])
    graph = neighbors(query, key, 3, ptr, key_ptr)
    assert neighbor_recall(graph, query, key, 3, ptr, key_ptr) == 1.0
    empty = TokenGraph(torch.zeros(12, dtype=torch.long), torch.zeros(0, dtype=torch.long), 17)
    assert neighbor_recall(empty, query, key, 3, ptr, key_ptr) == 0.0
    nothing = TokenGraph(torch.zeros(12, dtype=torch.long), torch.zeros(0, dtype=torch.long), 0)
    assert math.isnan(neighbor_recall(nothing, query, key[:0], 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k must be at least 1 \(got 0\)"),
        ({"sample": 0}, r"sample must be at least 1 \(got 0\)"),
        ({"query": vectors(7, 1)}, "graph must have 7 targets and 5 sources"),
        ({"ptr": torch.tensor([0, 2, 5])}, "graph edge 2 → 0 joins two sets"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    x = vectors(5, 1)
    graph = TokenGraph.from_edge_index(torch.tensor([[2], [0]]), 5)
    if "ptr" not in arguments:
        arguments = {
            "ptr": torch.tensor([0, len(arguments.get("query", x))]),
            "key_ptr": torch.tensor([0, 5]),
        } | arguments
    with pytest.raises(ValueError, match=message):
        neighbor_recall(**({"graph": graph, "query": x, "key": x, "k": 2} | arguments))

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.estimators.packed import (
    MOST_SLOPED,
    PackedEstimator,
    bare,
    batches,
    counted,
    in_double,
    joined_graph,
    token_input,
)
from structformer.graph import TokenGraph
from structformer.tokens import TokenSet


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 12))
def test_batches_hold_every_set_once_and_about_as_many_tokens_as_wanted(sizes: list[int], most: int):
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    found = list(batches(ptr, most))
    assert torch.cat(found).tolist() == list(range(len(sizes)))
    for some in found:
        tokens = sum(sizes[i] for i in some.tolist())
        assert tokens < most + max(sizes[i] for i in some.tolist())


def test_features_bend_at_quantiles_unless_they_have_two_values_or_are_many():
    x = torch.stack([torch.arange(9.0), torch.arange(9) % 2, torch.full((9,), 4.0)], dim=1)
    given_input = token_input(TokenSet(x), pieces=4)
    assert given_input.bins == [[0, 2, 4, 6, 8], [], []]
    assert token_input(TokenSet(torch.zeros(3, MOST_SLOPED + 1))).bins is None
    edges = TokenSet(x, edge_index=torch.zeros(2, 2, dtype=torch.long), edge_attr=torch.zeros(2, 5))
    assert token_input(edges).edge_features == 5


def test_what_a_network_does_not_read_stays_behind():
    tokens = TokenSet(
        torch.zeros(3, 2), torch.tensor([0, 1, 3]), names=list("abc"), y=torch.zeros(3),
        edge_index=torch.tensor([[1], [2]]), edge_attr=torch.ones(1, 1), token_type=torch.tensor([0, 1, 0]),
    )  # fmt: skip
    kept = bare(tokens)
    assert set(kept.keys()) == {"x", "ptr", "edge_index", "edge_attr", "token_type"}
    assert in_double(tokens).x.dtype == in_double(tokens).edge_attr.dtype == torch.float64
    assert tokens.x.dtype == torch.float32
    assert counted(tokens, "graphs", "nodes", classes=2) == {
        "graphs": 2, "nodes": 3, "features": 2, "directed edges": 1, "classes": 2
    }  # fmt: skip
    assert "directed edges" not in counted(TokenSet(torch.zeros(0, 2)), "sets", "members")


def test_graphs_of_batches_are_one_graph_with_the_names_of_all():
    def step(weight: float) -> list[TokenGraph]:
        one = TokenGraph.from_edge_index(torch.tensor([[0], [1]]), 2, torch.tensor([weight]))
        two = TokenGraph.from_edge_index(torch.tensor([[0], [0]]), 1, torch.tensor([weight + 1]))
        return [one, two]

    first, last = step(0.0), step(5.0)
    tokens = TokenSet(torch.zeros(3, 1), torch.tensor([0, 2, 3]), names=list("abc"))
    graph = joined_graph([(first[0], last[0]), (first[1], last[1])], tokens, labels=["x", "y", "z"])
    assert [(g.col.tolist(), g.row.tolist(), g.weight.tolist()) for g in graph.steps] == [
        ([0, 2], [1, 2], [0, 1]), ([0, 2], [1, 2], [5, 6])
    ]  # fmt: skip
    assert (graph.names, graph.ptr.tolist(), graph.labels) == (list("abc"), [0, 2, 3], ["x", "y", "z"])


def test_a_batch_is_some_thousand_tokens_and_never_no_set():
    def size(sets: int, each: int, batch_size=None) -> int:
        tokens = TokenSet(torch.zeros(sets * each, 1), torch.arange(sets + 1) * each)
        return PackedEstimator(batch_size=batch_size)._batch_size(tokens)

    assert size(1, 1) == 1
    assert size(1_000, 4) == 64
    assert size(100, 1_024) == 4
    assert size(2, 5_000) == 1
    assert size(16, 2) == 2
    assert size(3, 0) == 1
    assert size(3, 1, batch_size=7) == 7
    with pytest.raises(ValueError, match=r"batch_size must be at least 1 or None \(got 0\)"):
        size(3, 1, batch_size=0)

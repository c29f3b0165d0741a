import copy
import dataclasses
import math
import pickle
from collections.abc import Callable

import pytest
import torch

from structformer.graph import TokenGraph


def test_empty_sets_and_graphs_are_fine():
    nothing = torch.empty(2, 0, dtype=torch.long)
    graph = TokenGraph.from_edge_index(nothing, 5, ptr=torch.tensor([0, 0, 5, 5]))
    assert graph.num_edges == 0
    assert graph.entropy().tolist() == [0.0] * 5
    assert math.isnan(graph.homophily([1] * 5))
    assert graph.transpose[0].tolist() == [0] * 6
    none = TokenGraph.from_edge_index(nothing, 0)
    assert none.num_tokens == 0
    assert none.summary().edges == 0
    assert float(none.change(none)) == 0.0


def test_copies_share_the_pattern_and_changed_patterns_do_not(random_graph):
    graph = random_graph()
    other = graph.with_weight(torch.zeros(graph.num_edges))
    assert other.transpose is graph.transpose
    assert graph.weight is not None
    assert (graph.weight != 0).any()
    reduced = dataclasses.replace(
        graph, rowptr=torch.tensor([0, 1]), col=torch.tensor([0]), num_sources=1, weight=None
    )
    assert reduced.transpose[0].tolist() == [0, 1]


@pytest.fixture
def partly_zero(random_graph) -> Callable[..., TokenGraph]:
    """A graph in which every so-many-th edge has no weight, and others lack it in some heads alone."""

    def draw(heads: int, seed: int = 0, every: int = 3) -> TokenGraph:
        graph = random_graph(heads=heads, seed=seed)
        assert graph.weight is not None
        weight = graph.weight.clone()
        weight[::every] = 0
        if heads:
            weight[1, :2] = 0
        graph = graph.with_weight(weight)
        graph.given = torch.rand(graph.num_edges) < 0.5
        return graph

    return draw


@pytest.mark.parametrize("heads", [0, 3])
def test_active_edges_have_weight_in_any_head(partly_zero, heads: int):
    graph = partly_zero(heads)
    assert graph.active.tolist() == [edge % 3 != 0 for edge in range(47)]
    unweighted = graph.with_weight(None)
    assert unweighted.active.tolist() == [True] * 47


@pytest.mark.parametrize("heads", [0, 3])
def test_pruned_keeps_what_is_active_and_all_that_belongs_to_it(partly_zero, dense, heads: int):
    before = partly_zero(heads, seed=1, every=5)
    graph = partly_zero(heads).with_steps([before])
    graph.names, graph.ptr, graph.labels = [f"token {i}" for i in range(13)], torch.tensor([0, 13]), [0] * 13
    graph.transpose  # noqa: B018 - a stale cache must not survive
    smaller = graph.pruned()
    assert smaller.num_edges == graph.num_edges - len(range(0, 47, 3))
    torch.testing.assert_close(dense(smaller), dense(graph))
    assert (smaller.names, smaller.ptr, smaller.labels) == (graph.names, graph.ptr, graph.labels)
    assert smaller.given is not None
    assert graph.given is not None
    assert smaller.given.tolist() == [bool(g) for e, g in enumerate(graph.given) if e % 3]
    assert smaller.transpose[2].numel() == smaller.num_edges
    assert smaller.steps[0].num_edges == 47 - len(range(0, 47, 5))
    torch.testing.assert_close(dense(smaller.steps[0]), dense(before))
    torch.testing.assert_close(smaller.change(smaller.steps[0]), graph.change(before))
    assert (graph.num_edges, before.num_edges) == (47, 47)


def test_pruned_keeps_gradients_and_unweighted_edges(partly_zero):
    graph = partly_zero(2)
    assert graph.weight is not None
    weight = graph.weight.clone().requires_grad_()
    smaller = graph.with_weight(weight).pruned()
    assert smaller.weight is not None
    smaller.weight.sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad[:, 0] == 1, graph.active)
    unweighted = graph.with_weight(None).pruned()
    assert unweighted.weight is None
    assert torch.equal(unweighted.col, graph.col)
    assert torch.equal(unweighted.rowptr, graph.rowptr)


def test_mean_weight(random_graph):
    graph = random_graph(heads=3)
    assert graph.weight is not None
    torch.testing.assert_close(graph.mean_weight(), graph.weight.mean(1))
    assert (graph.with_weight(None).mean_weight() == 1).all()


def test_to_moves_everything(random_graph):
    graph = random_graph()
    graph.given, graph.ptr = torch.ones(47, dtype=torch.bool), torch.tensor([0, 13])
    graph = graph.with_steps([random_graph(seed=1)])
    moved = graph.to("meta")
    tensors = [moved.rowptr, moved.col, moved.weight, moved.given, moved.ptr, moved.earlier[0].col]
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)
    assert graph.col.device.type == "cpu"


def test_pickle_and_deepcopy(random_graph, dense):
    graph = random_graph().with_steps([random_graph(seed=1)])
    for again in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert len(again.steps) == 2
        torch.testing.assert_close(dense(again), dense(graph))


def test_steps_end_with_the_graph_itself(random_graph):
    first, second = random_graph(seed=1), random_graph(seed=2)
    assert first.steps == (first,)
    last = second.with_steps([first])
    assert last.steps == (first, last)
    assert second.earlier == ()


def test_repr(random_graph, partly_zero):
    assert repr(random_graph()) == "TokenGraph(13 tokens, 47 edges)"
    graph = random_graph(13, 5, 47, heads=3).with_steps([random_graph()])
    assert repr(graph) == "TokenGraph(13 targets from 5 sources, 47 edges, 3 heads, 2 steps)"
    assert repr(partly_zero(3)) == "TokenGraph(13 tokens, 47 edges (16 of weight zero), 3 heads)"
    assert repr(partly_zero(0).pruned()) == "TokenGraph(13 tokens, 31 edges)"
    assert repr(graph.to("meta")) == repr(graph)

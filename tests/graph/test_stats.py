import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_relabelling_tokens_changes_no_statistic(random_graph, random: Any):
    graph = random_graph(13, None, 53, seed=random.randrange(1000))
    labels = torch.tensor([random.randrange(3) for _ in range(13)])
    place = torch.tensor(random.sample(range(13), 13))
    edge_index, weight = graph.to_edge_index()
    again = TokenGraph.from_edge_index(place[edge_index], 13, weight)
    moved = torch.empty_like(labels)
    moved[place] = labels
    torch.testing.assert_close(again.entropy()[place], graph.entropy())
    assert again.homophily(moved) == pytest.approx(graph.homophily(labels))
    assert again.degree()[place].equal(graph.degree())


def test_entropy_of_known_rows():
    edges = torch.tensor([[0, 1, 2, 0, 1, 3], [0, 0, 0, 1, 1, 2]])
    weight = torch.tensor([1.0, 1.0, 1.0, 0.25, 0.75, 0.0], dtype=torch.float64)
    graph = TokenGraph.from_edge_index(edges, 4, weight)
    expected = [math.log(3), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), 0.0, 0.0]
    assert graph.entropy().tolist() == pytest.approx(expected)
    assert graph.effective_degree().tolist()[0] == pytest.approx(3)


def test_entropy_gradient(random_graph):
    graph = random_graph(5, None, 13)
    weight = (graph.mean_weight() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: graph.with_weight(w).entropy(), weight)
    zeros = torch.zeros(13, requires_grad=True)
    graph.with_weight(zeros).entropy().sum().backward()
    assert zeros.grad is not None
    assert torch.isfinite(zeros.grad).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
def test_change_is_the_squared_distance_of_the_matrices(
    random_graph, dense, edges: int, others: int, seed: int
):
    a, b = random_graph(7, 11, edges, seed=seed), random_graph(7, 11, others, seed=seed + 1)
    expected = (dense(a) - dense(b)).square().sum() / 7
    torch.testing.assert_close(a.change(b), expected)
    torch.testing.assert_close(b.change(a), expected)


def test_change_on_one_pattern_and_with_heads(random_graph):
    graph = random_graph(heads=3)
    assert graph.weight is not None
    other = graph.with_weight(graph.weight.flip(1))
    expected = (graph.weight - graph.weight.flip(1)).square().sum() / (3 * 13)
    torch.testing.assert_close(graph.change(other), expected)
    apart = random_graph(heads=3)
    apart.weight = graph.weight.flip(1)
    torch.testing.assert_close(graph.change(apart), expected)
    assert float(graph.change(graph.with_weight(graph.mean_weight()))) == pytest.approx(0)
    with pytest.raises(ValueError, match="13 targets and 13 sources"):
        graph.change(random_graph(11))


def test_change_is_differentiable_in_both(random_graph):
    a, b = random_graph(5, None, 13), random_graph(5, None, 17, seed=1)
    inputs = (a.mean_weight().requires_grad_(), b.mean_weight().requires_grad_())
    assert torch.autograd.gradcheck(lambda v, w: a.with_weight(v).change(b.with_weight(w)), inputs)


def test_summary_of_weights_that_want_gradients(random_graph):
    graph = random_graph()
    learning = graph.with_weight(graph.weight.clone().requires_grad_()).with_steps([graph])
    assert learning.summary() == graph.with_steps([graph]).summary()


def test_summary(random_graph):
    edges = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]])
    before = TokenGraph.from_edge_index(edges, 2, torch.tensor([1.0, 0.0, 0.0, 1.0]))
    graph = before.with_weight(torch.tensor([0.5, 0.5, 0.5, 0.5])).with_steps([before])
    graph.labels = [0, 1]
    summary = graph.summary()
    assert dataclasses.asdict(summary) == {
        "tokens": 2,
        "sources": 2,
        "edges": 4,
        "inactive": 0,
        "mean_degree": 2.0,
        "effective_degree": pytest.approx(2.0),
        "self_weight": 0.5,
        "homophily": 0.0,
        "change": (0.5,),
    }
    text = str(summary)
    assert "self-weight       50.0%" in text
    assert "homophily         0.000" in text
    assert "change by step    0.5" in text
    assert "of weight zero" not in text
    assert before.summary().inactive == 2
    assert "of weight zero    2\n" in str(before.summary())
    bipartite = random_graph(7, 11, 31).summary()
    assert bipartite.self_weight is None
    assert "sources           11" in str(bipartite)
    assert "homophily" not in str(bipartite)

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect.statistics import chance_homophily, graph_statistics


def random_graph(
    seed: int, targets: int, sources: int | None = None, ptr: list[int] | None = None
) -> TokenGraph:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(targets, sources or targets, generator=generator) < 0.4
    if ptr is not None:
        set_of = torch.repeat_interleave(torch.arange(len(ptr) - 1), torch.tensor(ptr).diff())
        mask &= set_of[:, None] == set_of
    target, source = mask.nonzero(as_tuple=True)
    weight = torch.rand(len(target), 2, generator=generator)
    return TokenGraph.from_edge_index(
        torch.stack([source, target]),
        targets,
        weight,
        num_sources=sources,
        ptr=None if ptr is None else torch.tensor(ptr),
    )


def test_by_hand():
    # 0 and 1 are "a", 2 is "b"; weights of each target sum to one.
    edges = torch.tensor([[0, 1, 2, 0, 2], [0, 0, 0, 1, 2]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.tensor([0.5, 0.25, 0.25, 1.0, 1.0]))
    table = graph_statistics(graph, ["a", "a", "b"])
    assert list(table.index) == [1]
    row = table.iloc[0]
    assert row["edges"] == 5
    assert row["degree"] == pytest.approx(5 / 3)
    entropy = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert row["entropy"] == pytest.approx(entropy / 3)
    assert row["effective_degree"] == pytest.approx((math.exp(entropy) + 2) / 3)
    assert row["self_weight"] == pytest.approx(1.5 / 3)
    # Between different tokens: 0 ← 1 (equal), 0 ← 2 (not), 1 ← 0 (equal).
    assert row["homophily"] == pytest.approx(1.25 / 1.5)
    assert row["chance"] == pytest.approx(0.5)
    assert row["lift"] == pytest.approx(1.25 / 1.5 / 0.5)
    assert "change" not in table
    assert "given_weight" not in table


def test_one_row_a_step():
    first = random_graph(0, 7)
    first.weight.requires_grad_()
    second = first.with_weight(first.weight + 0.5).with_steps([first])
    second.given = torch.ones(second.num_edges, dtype=torch.bool)
    table = graph_statistics(second)
    assert list(table.index) == [1, 2]
    assert math.isnan(table["change"][1])
    assert table["change"][2] == pytest.approx(first.num_edges * 0.25 / 7, rel=1e-5)
    assert math.isnan(table["given_weight"][1])
    assert table["given_weight"][2] == pytest.approx(1.0)
    assert "homophily" not in table


@pytest.mark.parametrize("ptr", [None, [0, 5, 6, 17]])
def test_chance_against_its_definition(ptr):
    graph = random_graph(1, 17, ptr=ptr)
    labels = np.random.default_rng(2).integers(-1, 3, size=17)
    set_of = np.zeros(17) if ptr is None else np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    total = expected = 0.0
    for edge, (target, source) in enumerate(zip(graph.row.tolist(), graph.col.tolist(), strict=True)):
        if target == source or labels[target] < 0 or labels[source] < 0:
            continue
        others = [j for j in range(17) if j != target and labels[j] >= 0 and set_of[j] == set_of[target]]
        weight = float(graph.weight[edge].mean())
        total += weight
        expected += weight * np.mean([labels[j] == labels[target] for j in others])
    assert chance_homophily(graph, labels) == pytest.approx(expected / total)


def test_chance_of_a_bipartite_graph():
    graph = random_graph(3, 5, 11)
    table = graph_statistics(graph, ["a"] * 5, ["a"] * 3 + ["b"] * 8)
    assert table["chance"][1] == pytest.approx(3 / 11)
    assert "self_weight" not in table
    assert "homophily" not in graph_statistics(graph, ["a"] * 5)


def test_even_weights_have_the_homophily_of_chance():
    target, source = torch.ones(13, 13).tril(-1).add(torch.ones(13, 13).triu(1)).nonzero(as_tuple=True)
    graph = TokenGraph.from_edge_index(torch.stack([source, target]), 13)
    table = graph_statistics(graph, list("aaaabbbbbbbcc"))
    assert table["lift"][1] == pytest.approx(1.0)


def test_the_labels_of_the_graph_are_the_default():
    graph = random_graph(4, 7)
    graph.labels = list("aabbabb")
    assert "homophily" in graph_statistics(graph)
    with pytest.raises(ValueError, match="labels must hold 7"):
        graph_statistics(graph, ["a"])


def test_a_graph_without_edges():
    graph = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 3)
    row = graph_statistics(graph, ["a", "b", "a"]).iloc[0]
    assert row["edges"] == 0
    assert row["entropy"] == 0
    assert math.isnan(row["homophily"])

import copy
import dataclasses
import math
import pickle
from typing import Any

import matplotlib as mpl
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data

from structformer.graph import TokenGraph
from structformer.graph_convert import by_source_sorting

mpl.use("Agg")


def random_graph(
    targets: int = 13, sources: int | None = None, edges: int = 47, heads: int = 0, seed: int = 0
) -> TokenGraph:
    generator = torch.Generator().manual_seed(seed)
    shape = (targets, targets if sources is None else sources)
    picked = torch.randperm(shape[0] * shape[1], generator=generator)[:edges]
    edge_index = torch.stack([picked % shape[1], picked // shape[1]])
    weight = torch.rand(edges, *([heads] if heads else []), generator=generator, dtype=torch.float64)
    return TokenGraph.from_edge_index(edge_index, targets, weight, num_sources=sources)


def dense(graph: TokenGraph) -> Tensor:
    """`[targets, sources]` mean weights, edge by edge."""
    out = torch.zeros(graph.num_targets, graph.num_sources, dtype=torch.float64)
    for target in range(graph.num_targets):
        for edge in range(int(graph.rowptr[target]), int(graph.rowptr[target + 1])):
            weight = 1.0 if graph.weight is None else float(graph.weight[edge].mean())
            out[target, graph.col[edge]] += weight
    return out


def test_row_0_of_edge_index_is_the_source():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0, 1], [0, 1, 1]]), 3)
    assert graph.rowptr.tolist() == [0, 1, 3, 3]
    assert graph.col.tolist() == [2, 0, 1]
    assert graph.row.tolist() == [0, 1, 1]
    assert graph.degree().tolist() == [1, 2, 0]


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_edges_does_not_matter(random: Any, bipartite: bool):
    graph = random_graph(11, 7 if bipartite else None, 31, seed=random.randrange(1000))
    order = torch.tensor(random.sample(range(31), 31))
    edge_index, weight = graph.to_edge_index()
    assert weight is not None
    again = TokenGraph.from_edge_index(
        edge_index[:, order], 11, weight[order], num_sources=7 if bipartite else None
    )
    assert again.rowptr.equal(graph.rowptr)
    assert again.col.equal(graph.col)
    assert again.weight is not None
    assert again.weight.equal(weight)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_relabelling_tokens_changes_no_statistic(random: Any):
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


def test_columns_ascend_inside_each_row():
    graph = random_graph(17, 19, 101)
    for start, end in zip(graph.rowptr[:-1].tolist(), graph.rowptr[1:].tolist(), strict=True):
        assert (graph.col[start:end].diff() > 0).all()


@pytest.mark.parametrize("heads", [0, 3])
def test_repeated_edges_are_merged_and_weights_added(heads: int):
    edge_index = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]])
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0])
    if heads:
        weight = weight[:, None] * torch.arange(1.0, heads + 1)
    weight.requires_grad_()
    graph = TokenGraph.from_edge_index(edge_index, 2, weight)
    assert graph.num_edges == 2
    assert graph.weight is not None
    first = graph.weight if not heads else graph.weight[:, 0]
    assert first.tolist() == [13.0, 2.0]
    graph.weight.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()
    with pytest.raises(ValueError, match="edge from 1 to 0 is repeated"):
        TokenGraph.from_edge_index(edge_index, 2, coalesce=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"edge_index": torch.tensor([[0, 1, 2, 17], [1, 2, 0, 1]])},
            "edge 3 names token 17, but there are 5",
        ),
        ({"edge_index": torch.tensor([[0], [-1]])}, "edge 0 names token -1, but there are 5"),
        ({"edge_index": torch.tensor([[7], [1]]), "num_sources": 7}, "names source token 7, but there are 7"),
        ({"edge_index": torch.tensor([0, 1])}, r"shape \[2, edges\] \(got \[2\]\)"),
        ({"edge_index": torch.rand(2, 3)}, "must hold integers"),
        ({"num_tokens": -1}, r"num_tokens must not be negative \(got -1\)"),
        ({"weight": torch.rand(3)}, r"weight must have shape \[2\]"),
        ({"weight": torch.tensor([1, 2])}, "weight must be floating point"),
        ({"weight": torch.tensor([1.0, torch.inf])}, "edge 1 has inf"),
        ({"names": ["a"]}, r"names must hold 5 names, one for each token \(got 1\)"),
        ({"ptr": torch.tensor([0, 2, 4])}, r"number of tokens, 5 \(got \[0, 2, 4\]\)"),
        ({"ptr": torch.tensor([0, 3, 2, 5])}, "ptr must rise"),
        ({"ptr": torch.tensor([0.0, 5.0])}, "ptr must be a vector of int64"),
        ({"ptr": torch.tensor([0, 1, 5])}, "edge 0 joins token 0 of set 0 to token 1 of set 1"),
    ],
)
def test_bad_edges_are_named(arguments: dict[str, Any], message: str):
    good: dict[str, Any] = {"edge_index": torch.tensor([[0, 1], [1, 2]]), "num_tokens": 5}
    with pytest.raises(ValueError, match=message):
        TokenGraph.from_edge_index(**(good | arguments))


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


@pytest.mark.parametrize("sources", [None, 7, 23])
def test_transpose(sources: int | None):
    graph = random_graph(13, sources, 61)
    rowptr, row, perm = graph.transpose
    assert rowptr.dtype == row.dtype == perm.dtype == torch.long
    other = TokenGraph(rowptr, row, graph.num_targets, graph.weight[perm])  # type: ignore[index]
    torch.testing.assert_close(dense(other), dense(graph).T)
    for start, end in zip(rowptr[:-1].tolist(), rowptr[1:].tolist(), strict=True):
        assert (row[start:end].diff() > 0).all()
    assert graph.transpose is graph.transpose
    sorting = by_source_sorting(graph.rowptr, graph.col, graph.num_sources)
    for one, other_way in zip(graph.transpose, sorting, strict=True):
        assert one.equal(other_way)


def test_copies_share_the_pattern_and_changed_patterns_do_not():
    graph = random_graph()
    other = graph.with_weight(torch.zeros(graph.num_edges))
    assert other.transpose is graph.transpose
    assert graph.weight is not None
    assert (graph.weight != 0).any()
    reduced = dataclasses.replace(
        graph, rowptr=torch.tensor([0, 1]), col=torch.tensor([0]), num_sources=1, weight=None
    )
    assert reduced.transpose[0].tolist() == [0, 1]


def partly_zero(heads: int, seed: int = 0, every: int = 3) -> TokenGraph:
    """A graph in which every so-many-th edge has no weight, and others lack it in some heads alone."""
    graph = random_graph(heads=heads, seed=seed)
    assert graph.weight is not None
    weight = graph.weight.clone()
    weight[::every] = 0
    if heads:
        weight[1, :2] = 0
    graph = graph.with_weight(weight)
    graph.given = torch.rand(graph.num_edges) < 0.5
    return graph


@pytest.mark.parametrize("heads", [0, 3])
def test_active_edges_have_weight_in_any_head(heads: int):
    graph = partly_zero(heads)
    assert graph.active.tolist() == [edge % 3 != 0 for edge in range(47)]
    unweighted = graph.with_weight(None)
    assert unweighted.active.tolist() == [True] * 47


@pytest.mark.parametrize("heads", [0, 3])
def test_pruned_keeps_what_is_active_and_all_that_belongs_to_it(heads: int):
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


def test_pruned_keeps_gradients_and_unweighted_edges():
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


def test_mean_weight():
    graph = random_graph(heads=3)
    assert graph.weight is not None
    torch.testing.assert_close(graph.mean_weight(), graph.weight.mean(1))
    assert (graph.with_weight(None).mean_weight() == 1).all()


def test_to_moves_everything():
    graph = random_graph()
    graph.given, graph.ptr = torch.ones(47, dtype=torch.bool), torch.tensor([0, 13])
    graph = graph.with_steps([random_graph(seed=1)])
    moved = graph.to("meta")
    tensors = [moved.rowptr, moved.col, moved.weight, moved.given, moved.ptr, moved.earlier[0].col]
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)
    assert graph.col.device.type == "cpu"


def test_pickle_and_deepcopy():
    graph = random_graph().with_steps([random_graph(seed=1)])
    for again in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert len(again.steps) == 2
        torch.testing.assert_close(dense(again), dense(graph))


@pytest.mark.parametrize("shape", [(13, 13), (13, 5)])
def test_scipy_round_trip(shape: tuple[int, int]):
    matrix = sp.random_array(shape, density=0.3, rng=np.random.default_rng(0), format="coo")
    graph = TokenGraph.from_scipy(matrix)
    np.testing.assert_allclose(dense(graph).numpy(), matrix.toarray())
    np.testing.assert_allclose(graph.to_scipy().toarray(), matrix.toarray())


def test_networkx_undirected_multi_and_self_loops():
    source = nx.MultiGraph()
    source.add_nodes_from(["b", "a", 3])
    source.add_edge("b", "a", weight=2.0)
    source.add_edge("a", "b", weight=3.0)
    source.add_edge("b", "b")
    graph = TokenGraph.from_networkx(source)
    assert graph.names == ["b", "a", "3"]
    assert dense(graph).tolist() == [[1, 5, 0], [5, 0, 0], [0, 0, 0]]
    assert TokenGraph.from_networkx(source, weight=None).weight is None
    source.add_edge("a", 3, weight="heavy")
    with pytest.raises(ValueError, match="edge 'a' to 3 must be a number"):
        TokenGraph.from_networkx(source)


def test_networkx_direction_and_round_trip():
    graph = random_graph(7, None, 19)
    graph.names = list("abcdefg")
    graph.labels = torch.arange(7)
    graph.given = torch.arange(19) % 2 == 0
    out = graph.to_networkx()
    matrix = dense(graph)
    for source, target, attributes in out.edges(data=True):
        assert attributes["weight"] == pytest.approx(float(matrix[ord(target) - 97, ord(source) - 97]))
    assert out.nodes["c"] == {"name": "c", "label": 2}
    assert sum(attributes["given"] for *_, attributes in out.edges(data=True)) == 10
    again = TokenGraph.from_networkx(out)
    assert again.names == graph.names
    torch.testing.assert_close(dense(again), matrix, atol=1e-6, rtol=1e-6)


def test_networkx_names_that_do_not_tell_nodes_apart():
    graph = TokenGraph.from_edge_index(torch.tensor([[0], [2]]), 3, names=["a", "a", "b"])
    out = graph.to_networkx()
    assert list(out.edges) == [(0, 2)]
    assert out.nodes[1]["name"] == "a"


def test_networkx_bipartite():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0], [0, 1]]), 2, num_sources=3, names=["x", "y"])
    graph.source_names, graph.source_labels = ["p", "q", "r"], [5, 6, 7]
    out = graph.to_networkx()
    assert set(out.edges) == {("r", "x"), ("p", "y")}
    assert out.nodes["r"] == {"name": "r", "side": "source", "label": 7}
    assert out.nodes["x"] == {"name": "x", "side": "target"}
    square = TokenGraph.from_edge_index(torch.tensor([[1], [0]]), 2, names=["x", "y"])
    assert not square.is_bipartite
    square.source_names = ["p", "q"]
    assert square.is_bipartite
    assert list(square.to_networkx().edges) == [("q", "x")]


def test_pyg_round_trip():
    graph = random_graph(11, None, 29)
    graph.names = [f"n{i}" for i in range(11)]
    graph.ptr = torch.tensor([0, 11])
    data = graph.to_pyg()
    assert isinstance(data, Data)
    assert data.num_nodes == 11
    again = TokenGraph.from_pyg(data)
    assert again.names == graph.names
    assert again.ptr is not None
    torch.testing.assert_close(dense(again), dense(graph))
    assert random_graph(heads=3).to_pyg()["edge_attr"].shape == (47, 3)
    bipartite = random_graph(11, 5, 29).to_pyg()
    assert bipartite["source"].num_nodes == 5
    assert bipartite["source", "to", "target"].edge_index[0].max() < 5
    with pytest.raises(ValueError, match="how many nodes"):
        TokenGraph.from_pyg(Data())


def test_entropy_of_known_rows():
    edges = torch.tensor([[0, 1, 2, 0, 1, 3], [0, 0, 0, 1, 1, 2]])
    weight = torch.tensor([1.0, 1.0, 1.0, 0.25, 0.75, 0.0], dtype=torch.float64)
    graph = TokenGraph.from_edge_index(edges, 4, weight)
    expected = [math.log(3), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), 0.0, 0.0]
    assert graph.entropy().tolist() == pytest.approx(expected)
    assert graph.effective_degree().tolist()[0] == pytest.approx(3)


def test_entropy_gradient():
    graph = random_graph(5, None, 13)
    weight = (graph.mean_weight() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: graph.with_weight(w).entropy(), weight)
    zeros = torch.zeros(13, requires_grad=True)
    graph.with_weight(zeros).entropy().sum().backward()
    assert zeros.grad is not None
    assert torch.isfinite(zeros.grad).all()


def test_homophily_counts_weight_and_leaves_self_loops_and_unknown_out():
    edges = torch.tensor([[0, 1, 2, 2, 3], [0, 0, 0, 1, 2]])
    graph = TokenGraph.from_edge_index(edges, 4, torch.tensor([100.0, 3.0, 1.0, 4.0, 50.0]))
    assert graph.homophily(["a", "a", "b", None]) == pytest.approx(3 / 8)
    assert graph.homophily(torch.tensor([0, 0, 1, -1])) == pytest.approx(3 / 8)
    assert graph.homophily(np.array([1.0, 1.0, 0.0, np.nan])) == pytest.approx(3 / 8)
    assert graph.homophily(pd.Series(["a", "a", "b", None], index=[9, 4, 7, 2])) == pytest.approx(3 / 8)
    with pytest.raises(ValueError, match="labels must be given"):
        graph.homophily()
    with pytest.raises(
        ValueError, match=r"labels must hold 4 labels, one for each token \(got shape \[3\]\)"
    ):
        graph.homophily([0, 1, 2])


def test_homophily_of_a_bipartite_graph_codes_both_sides_alike():
    graph = TokenGraph.from_edge_index(torch.tensor([[2, 0, 1], [0, 1, 1]]), 2, num_sources=3)
    assert graph.homophily(["z", "a"], ["m", "a", "z"]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="source_labels must be given"):
        graph.homophily(["z", "a"])
    with pytest.raises(ValueError, match="must hold 2 and 3 labels"):
        graph.homophily(["z", "a"], ["m", "a"])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
def test_change_is_the_squared_distance_of_the_matrices(edges: int, others: int, seed: int):
    a, b = random_graph(7, 11, edges, seed=seed), random_graph(7, 11, others, seed=seed + 1)
    expected = (dense(a) - dense(b)).square().sum() / 7
    torch.testing.assert_close(a.change(b), expected)
    torch.testing.assert_close(b.change(a), expected)


def test_change_on_one_pattern_and_with_heads():
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


def test_change_is_differentiable_in_both():
    a, b = random_graph(5, None, 13), random_graph(5, None, 17, seed=1)
    inputs = (a.mean_weight().requires_grad_(), b.mean_weight().requires_grad_())
    assert torch.autograd.gradcheck(lambda v, w: a.with_weight(v).change(b.with_weight(w)), inputs)


def test_steps_end_with_the_graph_itself():
    first, second = random_graph(seed=1), random_graph(seed=2)
    assert first.steps == (first,)
    last = second.with_steps([first])
    assert last.steps == (first, last)
    assert second.earlier == ()


def test_summary():
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


def test_repr():
    assert repr(random_graph()) == "TokenGraph(13 tokens, 47 edges)"
    graph = random_graph(13, 5, 47, heads=3).with_steps([random_graph()])
    assert repr(graph) == "TokenGraph(13 targets from 5 sources, 47 edges, 3 heads, 2 steps)"
    assert repr(partly_zero(3)) == "TokenGraph(13 tokens, 47 edges (16 of weight zero), 3 heads)"
    assert repr(partly_zero(0).pruned()) == "TokenGraph(13 tokens, 31 edges)"
    assert repr(graph.to("meta")) == repr(graph)


def test_permute_moves_everything_and_comes_back():
    rng = torch.Generator().manual_seed(torch.seed() % 2**32)
    row, col = torch.randint(13, (2, 41), generator=rng)
    ptr = torch.tensor([0, 6, 13])
    same = (row < 6) == (col < 6)
    index = torch.stack([col, row])[:, same]
    names = [f"token {i}" for i in range(13)]
    first = TokenGraph.from_edge_index(index, 13, ptr=ptr, weight=torch.rand(int(same.sum()), generator=rng))
    last = TokenGraph.from_edge_index(index.flip(0), 13, ptr=ptr, names=names)
    last.labels, last.given = names, torch.rand(last.num_edges, generator=rng) < 0.5
    graph = last.with_steps([first])
    perm = torch.cat([torch.randperm(6, generator=rng), 6 + torch.randperm(7, generator=rng)])
    moved = graph.permute(perm)
    assert moved.names == moved.labels == [names[i] for i in perm.tolist()]
    dense = first.to_scipy().toarray()
    assert np.array_equal(moved.earlier[0].to_scipy().toarray(), dense[np.ix_(perm, perm)])
    given = {(names[j], names[i]) for i, j in zip(last.row[last.given], last.col[last.given], strict=True)}
    there = zip(moved.row[moved.given], moved.col[moved.given], strict=True)
    assert {(moved.names[j], moved.names[i]) for i, j in there} == given
    back = moved.permute(torch.argsort(perm))
    assert torch.equal(back.col, graph.col)
    assert torch.equal(back.rowptr, graph.rowptr)
    assert torch.equal(back.given, graph.given)
    assert torch.equal(back.earlier[0].weight, first.weight)


@pytest.mark.parametrize(
    ("perm", "message"),
    [([0, 1, 1], "each of the 3 tokens once"), ([0, 2, 1], "token 2 leaves its own")],
)
def test_permute_refuses_what_is_no_order_of_each_set(perm, message):
    graph = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 3, ptr=torch.tensor([0, 2, 3]))
    with pytest.raises(ValueError, match=message):
        graph.permute(torch.tensor(perm))


def test_permute_refuses_a_bipartite_graph():
    graph = TokenGraph.from_edge_index(torch.tensor([[4], [1]]), 3, num_sources=5)
    with pytest.raises(ValueError, match="bipartite"):
        graph.permute(torch.arange(3))

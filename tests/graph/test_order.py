import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.graph.order import by_source, by_source_sorting


@pytest.mark.parametrize("sources", [None, 7, 23])
def test_transpose(random_graph, dense, sources: int | None):
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


def test_edges_by_source_is_an_operator_that_can_be_traced(random_graph):
    graph = random_graph(13, 7, 29)
    given = (graph.rowptr, graph.col, graph.num_sources)
    torch.library.opcheck(by_source, given, test_utils=["test_schema", "test_faketensor"])


@pytest.mark.parametrize("targets", [0, 3])
def test_a_graph_without_edges_has_a_transpose_without_edges(targets: int):
    empty = torch.zeros(0, dtype=torch.long)
    for transposed in (by_source, by_source_sorting):
        rowptr, row, perm = transposed(torch.zeros(targets + 1, dtype=torch.long), empty, 5)
        assert rowptr.tolist() == [0] * 6
        assert row.tolist() == perm.tolist() == []


def test_permute_moves_everything_and_comes_back(rng):
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
    matrix = first.to_scipy().toarray()
    assert np.array_equal(moved.earlier[0].to_scipy().toarray(), matrix[np.ix_(perm, perm)])
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

import numpy as np
import torch

from structformer.estimators.table_networks import column_table, mean_outputs, row_graph
from structformer.graph import TokenGraph
from structformer.models.encoder import Encoded
from structformer.models.table import TableOutput

SOURCES = 7


def graph(rows, sources, seed):
    """A graph in which each row listens to three sources, and its matrix."""
    draw = torch.Generator().manual_seed(seed)
    col = torch.stack([torch.randperm(sources, generator=draw)[:3].sort().values for _ in range(rows)])
    weight = torch.rand(rows, 3, generator=draw, dtype=torch.float64)
    weight = weight / weight.sum(1, keepdim=True)
    dense = torch.zeros(rows, sources, dtype=torch.float64).scatter(1, col, weight)
    found = TokenGraph(torch.arange(0, 3 * rows + 1, 3), col.flatten(), sources, weight.flatten())
    return found, dense


def said(rows, seed):
    """What a network might say: outputs, a graph over sources, and a graph over the cells of three columns."""
    cells, dense = zip(*(graph(3, 3, seed + row) for row in range(rows)), strict=True)
    joined = TokenGraph(
        torch.arange(0, 9 * rows + 1, 3),
        torch.cat([part.col + 3 * row for row, part in enumerate(cells)]),
        3 * rows,
        torch.cat([part.mean_weight() for part in cells]),
    )
    links, _ = graph(rows, SOURCES, seed)
    outputs = torch.full((rows, 2), float(seed), dtype=torch.float64)
    out = TableOutput(outputs, outputs, [links], Encoded(torch.zeros(3 * rows, 2), [joined]))
    return out, sum(dense)


def test_outputs_are_averaged_over_networks_and_joined_over_batches():
    one, two = [said(5, 1)[0], said(5, 4)[0]], [said(2, 3)[0], said(2, 9)[0]]
    expected = torch.tensor([2.5] * 5 + [6.0] * 2, dtype=torch.float64)
    assert mean_outputs([one, two]).equal(expected[:, None].expand(-1, 2))


def test_row_graphs_are_averaged_over_networks_and_joined_over_batches():
    said_of = [[said(5, seed)[0] for seed in (1, 2, 3)], [said(2, seed)[0] for seed in (4, 5, 6)]]
    dense = [
        [graph(rows, SOURCES, seed)[1] for seed in seeds] for rows, *seeds in ((5, 1, 2, 3), (2, 4, 5, 6))
    ]
    expected = torch.cat([sum(parts) / 3 for parts in dense])
    mean = row_graph(said_of, SOURCES, names=list("abcdefg"))
    assert mean.names == list("abcdefg")
    torch.testing.assert_close(torch.from_numpy(mean.to_scipy().toarray()), expected)
    # Sources ascend within each row, each once.
    assert ((mean.row * SOURCES + mean.col).diff() > 0).all()


def test_every_step_has_its_graph():
    one, two = said(5, 1)[0], said(5, 2)[0]
    two.row_graphs = [one.row_graphs[0], two.row_graphs[0]]
    last = row_graph([[two]], SOURCES)
    assert [len(step.col) for step in last.steps] == [15, 15]
    assert last.earlier[0].col.equal(one.row_graphs[0].col)


def test_no_rows_have_an_empty_graph():
    empty = TokenGraph(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long), 3, torch.zeros(0))
    out, _ = said(1, 1)
    outs = [TableOutput(out.outputs[:0], out.rows[:0], [empty], out.cells)] * 2
    assert row_graph([outs], 3).num_edges == 0


def test_the_column_table_is_a_mean_over_rows_and_networks():
    (one, first), (two, second) = said(5, 10), said(5, 20)
    (three, third), (four, fourth) = said(2, 30), said(2, 40)
    table = column_table([[one, two], [three, four]], ["p", "q", "r"])
    assert list(table.index) == list(table.columns) == ["p", "q", "r"]
    expected = (first + second + third + fourth) / 14
    np.testing.assert_allclose(table, expected)

import torch

from structformer.estimators.table_networks import mean_column_weights, mean_outputs, mean_row_graphs
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


def test_row_graphs_are_averaged_edge_by_edge():
    outs = [said(5, seed)[0] for seed in (1, 2, 3)]
    expected = sum(graph(5, SOURCES, seed)[1] for seed in (1, 2, 3)) / 3
    (mean,) = mean_row_graphs(outs)
    assert (mean.num_targets, mean.num_sources) == (5, SOURCES)
    torch.testing.assert_close(torch.from_numpy(mean.to_scipy().toarray()), expected)
    # Sources ascend within each row, each once.
    key = mean.row * SOURCES + mean.col
    assert (key.diff() > 0).all()


def test_one_network_keeps_its_graph():
    out, _ = said(5, 1)
    assert mean_row_graphs([out])[0] is out.row_graphs[0]


def test_no_rows_have_an_empty_mean():
    empty = TokenGraph(torch.zeros(1, dtype=torch.long), torch.zeros(0, dtype=torch.long), 3, torch.zeros(0))
    out, _ = said(1, 1)
    outs = [TableOutput(out.outputs[:0], out.rows[:0], [empty], out.cells)] * 2
    assert mean_row_graphs(outs)[0].num_edges == 0


def test_column_weights_add_up_over_rows():
    outs, dense = zip(*(said(5, seed) for seed in (10, 20)), strict=True)
    torch.testing.assert_close(mean_column_weights(list(outs), 3), sum(dense) / 2)

import pytest
import torch
from structformer.datasets import tu_graphs
from structformer.datasets.tu_collection import parse_graphs


@pytest.mark.parametrize(
    ("name", "graphs", "kinds", "classes", "nodes", "in_no_fold"),
    [
        ("MUTAG", 188, 7, 2, 3_371, [0, 13, 37, 114, 161, 163, 169, 187]),
        ("PROTEINS", 1_113, 3, 2, 43_471, [25, 314, 454]),
        ("ENZYMES", 600, 3, 6, 19_580, []),
    ],
)
def test_the_real_collections(real, name, graphs, kinds, classes, nodes, in_no_fold):
    real(f"tu_graphs/{name}")
    found = tu_graphs(name)
    assert len(found.graphs) == graphs
    assert sum(graph.num_nodes for graph in found.graphs) == nodes
    assert all(graph.x.shape[1] == kinds and (graph.x.sum(1) == 1).all() for graph in found.graphs)
    assert all(graph.is_undirected() and not graph.has_self_loops() for graph in found.graphs)
    assert torch.cat([graph.y for graph in found.graphs]).unique().tolist() == list(range(classes))
    assert sorted(torch.cat(found.folds).tolist() + in_no_fold) == list(range(graphs))
    assert {len(fold) for fold in found.folds} == {graphs // 10}


TEXT = "3\n3 -1\n5 1 1\n0 2 0 2\n5 1 1\n1 1\n7 0\n2 -1\n0 1 1\n0 1 0\n"


def test_graphs_are_read_with_kinds_and_classes_numbered():
    one, two, three = parse_graphs(TEXT)
    assert one.x.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert sorted(map(tuple, one.edge_index.t().tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert [graph.y.tolist() for graph in (one, two, three)] == [[0], [1], [0]]
    assert two.edge_index.shape == (2, 0)
    assert two.x.tolist() == [[0, 0, 1]]


def test_an_unknown_collection_is_named():
    with pytest.raises(ValueError, match=r"name must be one of MUTAG, PROTEINS, ENZYMES \(got 'NCI1'\)"):
        tu_graphs("NCI1")

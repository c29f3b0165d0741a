import pytest
import torch
from structformer.tasks.baselines.graph_sets import DeepSets, FeatureSums, SetTransformer
from structformer.tasks.baselines.graph_sizes import GraphShape
from torch_geometric.data import Batch, Data

KINDS = (DeepSets, SetTransformer, FeatureSums)


def made(kind) -> torch.nn.Module:
    return kind(GraphShape(features=3, edge_features=0, outputs=2), 8, 6, 0.5).eval()


def graphs(*sizes: int) -> list[Data]:
    return [Data(x=torch.randn(size, 3)) for size in sizes]


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_are_a_set_without_edges(kind):
    model, (graph,) = made(kind), graphs(7)
    linked = Data(x=graph.x, edge_index=torch.tensor([[0, 1], [1, 2]]))
    moved = Data(x=graph.x[torch.randperm(7)])
    said = [model(Batch.from_data_list([one])) for one in (graph, linked, moved)]
    torch.testing.assert_close(said[1], said[0])
    torch.testing.assert_close(said[2], said[0])


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_do_not_hear_each_other_and_one_node_is_enough(kind):
    model, some = made(kind), graphs(1, 5, 2)
    together = model(Batch.from_data_list(some))
    assert together.shape == (3, 2)
    alone = torch.cat([model(Batch.from_data_list([one])) for one in some])
    torch.testing.assert_close(together, alone)

from functools import partial

import pytest
import torch
from structformer.tasks.baselines.graph_networks import GPS, MessagePassing
from structformer.tasks.baselines.graph_sets import DeepSets, FeatureSums, SetTransformer
from structformer.tasks.baselines.graph_sizes import GraphShape, num_parameters, sized
from torch_geometric.data import Batch, Data

KINDS = {
    **{kind: partial(MessagePassing, kind) for kind in ("gin", "gcn", "graphsage")},
    "gps": GPS,
    "deepsets": DeepSets,
    "set transformer": SetTransformer,
    "sum of features": FeatureSums,
}
BLIND = ("deepsets", "set transformer", "sum of features")
SHAPE = GraphShape(features=5, edge_features=0, outputs=3)
BONDS = GraphShape(features=5, edge_features=2, outputs=3)


def graphs(rng, sizes=(3, 7, 4)):
    return [
        Data(
            x=torch.randn(size, 5, generator=rng),
            edge_index=torch.randint(size, (2, 2 * size), generator=rng),
            edge_attr=torch.randn(2 * size, 2, generator=rng),
        )
        for size in sizes
    ]


def made(kind, shape):
    return KINDS[kind](shape, 8, 8, 0.0).eval()


@pytest.mark.parametrize("shape", [SHAPE, BONDS])
@pytest.mark.parametrize("parameters", [30_000, 125_000])
@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_as_large_as_asked_for(kind, parameters, shape):
    network = sized(lambda width, hidden: KINDS[kind](shape, width, hidden, 0.0), parameters)
    assert 0.95 * parameters <= num_parameters(network) <= parameters
    assert not any(parameter.is_meta for parameter in network.parameters())


def test_a_network_that_cannot_be_so_small_says_how_small_it_can_be():
    with pytest.raises(ValueError, match=r"parameters must be at least \d+ for this network \(got 10\)"):
        sized(lambda width, hidden: GPS(SHAPE, width, hidden, 0.0), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_does_not_hear_its_company(kind, rng):
    some, network = graphs(rng), made(kind, SHAPE)
    together = network(Batch.from_data_list(some))
    alone = torch.cat([network(Batch.from_data_list([graph])) for graph in some])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_edges_matter_to_those_that_read_them(kind, rng):
    some, network = graphs(rng), made(kind, SHAPE)
    before = network(Batch.from_data_list(some))
    for graph in some:
        graph.edge_index = graph.edge_index.flip(1)[:, : graph.edge_index.shape[1] // 2]
        graph.edge_attr = graph.edge_attr[: graph.edge_index.shape[1]]
    after = network(Batch.from_data_list(some))
    assert torch.equal(before, after) == (kind in BLIND)


@pytest.mark.parametrize("kind", ["gin", "gps"])
def test_bonds_matter(kind, rng):
    some, network = graphs(rng), made(kind, BONDS)
    before = network(Batch.from_data_list(some))
    some[0].edge_attr = some[0].edge_attr + 1
    after = network(Batch.from_data_list(some))
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:])


def test_gin_sums_where_the_others_take_means(rng):
    """Twice the same graph in one is another graph to a sum, and the same one to a mean."""
    one = graphs(rng)[0]
    size = len(one.x)
    twice = Data(x=one.x.repeat(2, 1), edge_index=torch.cat([one.edge_index, one.edge_index + size], dim=1))
    for kind in ("gin", "gcn", "graphsage"):
        network = made(kind, SHAPE)
        single, double = (network(Batch.from_data_list([graph])) for graph in (one, twice))
        assert torch.allclose(single, double, atol=1e-5) == (kind != "gin")

import pytest
import torch
from structformer.tasks import efficiency_inputs as inputs

TOKENS, NEIGHBORS = 61, 7


@pytest.mark.parametrize("draw", [inputs.random_graph, inputs.clustered_graph])
@pytest.mark.parametrize("tokens", [TOKENS, NEIGHBORS, 601])
def test_every_token_hears_as_many_different_tokens_in_order(draw, tokens, rng):
    graph = draw(tokens, NEIGHBORS, rng)
    assert graph.num_targets == graph.num_sources == tokens
    assert (graph.degree() == NEIGHBORS).all()
    col = graph.col.view(tokens, NEIGHBORS)
    assert (col.diff(dim=1) > 0).all()
    assert 0 <= int(col.min()) <= int(col.max()) < tokens


def test_random_neighbours_come_from_everywhere(rng):
    graph = inputs.random_graph(1_009, NEIGHBORS, rng)
    heard = torch.bincount(graph.col, minlength=1_009)
    assert (heard > 0).float().mean() > 0.98
    distance = (graph.row - graph.col).abs().double().mean()
    assert 0.25 < distance / 1_009 < 0.42  # a third, for uniform pairs


def test_clusters_are_closed_and_scattered_over_the_order(rng):
    tokens = 2 * inputs.CLUSTER + 3
    graph = inputs.clustered_graph(tokens, NEIGHBORS, rng)
    reach = torch.zeros(tokens, dtype=torch.bool)
    reach[0] = True
    for _ in range(tokens):
        grown = reach.clone()
        grown[graph.row[reach[graph.col]]] = True
        grown[graph.col[reach[graph.row]]] = True
        if torch.equal(grown, reach):
            break
        reach = grown
    # The last cluster takes what is left over; they are 256 and 259 tokens, wherever they stand.
    assert int(reach.sum()) in (inputs.CLUSTER, inputs.CLUSTER + 3)
    assert int(reach.nonzero().diff(dim=0).max()) > 1


def test_neighbours_in_a_cluster_are_the_nearest_of_it(rng):
    again = torch.Generator().manual_seed(rng.initial_seed())
    graph = inputs.clustered_graph(TOKENS, NEIGHBORS, rng)
    x = torch.randn(TOKENS, 16, generator=again)
    place = torch.randperm(TOKENS, generator=again)
    best = (x @ x.T).topk(NEIGHBORS).indices
    expected = torch.empty_like(best).index_copy_(0, place, place[best].sort(dim=1).values)
    assert torch.equal(graph.col.view(TOKENS, NEIGHBORS), expected)


@pytest.mark.parametrize("draw", [inputs.random_graph, inputs.clustered_graph])
@pytest.mark.parametrize("neighbors", [0, 12])
def test_too_many_neighbours(draw, neighbors, rng):
    with pytest.raises(ValueError, match=f"between 1 and the 11 tokens .got {neighbors}"):
        draw(11, neighbors, rng)


def test_clustered_vectors_have_length_one_and_close_neighbours(rng):
    x = inputs.clustered_vectors(701, 31, rng)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(701))
    products = x @ x.T - 2 * torch.eye(701)
    # One other token of the own cluster is far closer than what is usual.
    assert products.amax(1).mean() > 0.7
    assert products.flatten()[products.flatten() > -1.5].mean() < 0.5


def test_set_boundaries():
    assert inputs.set_boundaries(12, 4).tolist() == [0, 4, 8, 12]
    assert inputs.set_boundaries(13, 4).tolist() == [0, 4, 8, 12, 13]
    assert inputs.set_boundaries(13, 4, whole=True).tolist() == [0, 4, 8, 13]
    assert inputs.set_boundaries(3, 4, whole=True).tolist() == [0, 3]


def test_the_set_of_each_token():
    assert inputs.batch_of(torch.tensor([0, 5])) is None
    assert inputs.batch_of(torch.tensor([0, 2, 5])).tolist() == [0, 0, 1, 1, 1]


def test_given_edges_stay_in_their_set_and_join_no_token_to_itself(rng):
    ptr = torch.tensor([0, 11, 31])
    source, target = inputs.given_edges(torch.randn(31, 3, generator=rng), ptr, NEIGHBORS)
    assert torch.equal(source < 11, target < 11)
    assert (source != target).all()
    assert (torch.bincount(target, minlength=31) == 2).all()  # a quarter of the smaller set

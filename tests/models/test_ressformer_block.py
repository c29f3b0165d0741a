import pytest
import torch

from structformer.graph import TokenGraph
from structformer.models.ressformer import ReSSFormerConfig
from structformer.models.ressformer_block import ReSSFormerBlock
from structformer.nn.feedforward import FeedForward

WIDTH = 8
PTR = torch.tensor([0, 5, 5, 7])


def block(**changes) -> ReSSFormerBlock:
    sizes = {"width": WIDTH, "heads": 2, "neighbors": 2, "affinity": 5, "experts": 3, "dropout": 0.0}
    return ReSSFormerBlock(ReSSFormerConfig(**sizes | changes)).double().eval()


def attend(layer, h, ptr=PTR, given=None, topology=None):
    return layer.attend(h, ptr, given, topology, None, False)


@pytest.mark.parametrize("experts", [1, 3])
def test_tokens_in_another_order_say_the_same(shuffled, experts: int):
    layer, h, perm = block(experts=experts), torch.randn(7, WIDTH, dtype=torch.float64), shuffled(PTR, 3)
    heard, graph = attend(layer, h)
    moved, _ = attend(layer, h[perm])
    torch.testing.assert_close(moved, heard[perm])
    torch.testing.assert_close(layer.think(h[perm])[0], layer.think(h)[0][perm])
    sets = torch.searchsorted(PTR, torch.stack([graph.row, graph.col]), right=True)
    assert torch.equal(*sets)


def test_a_token_alone_hears_itself_and_sets_do_not_hear_each_other():
    layer, h = block(), torch.randn(7, WIDTH, dtype=torch.float64)
    heard, _ = attend(layer, h)
    alone, _ = attend(layer, h[5:], torch.tensor([0, 2]))
    torch.testing.assert_close(heard[5:], alone)
    assert attend(layer, h[:1], torch.tensor([0, 1]))[1].num_edges == 1
    nothing, none = attend(layer, h[:0], torch.tensor([0, 0]))
    assert nothing.shape == (0, WIDTH)
    assert none.num_edges == 0


def test_given_edges_are_heard_and_a_topology_is_all_that_is():
    layer, h = block(neighbors=1), torch.randn(7, WIDTH, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 6], [4, 4, 5]])
    given = TokenGraph.from_edge_index(edges, 7, ptr=PTR)
    given.given = torch.ones(3, dtype=torch.bool)
    _, graph = attend(layer, h, given=given)
    assert set(zip(*edges.tolist(), strict=True)) <= set(
        zip(graph.col.tolist(), graph.row.tolist(), strict=True)
    )
    _, same = attend(layer, h, topology=given)
    assert torch.equal(same.col, given.col)


def test_one_network_alone_tells_of_no_experts():
    layer, h = block(experts=1), torch.randn(7, WIDTH, dtype=torch.float64)
    assert isinstance(layer.experts, FeedForward)
    assert layer.think(h)[1] is None
    out, found = block().think(h)
    assert out.shape == h.shape
    assert found is not None

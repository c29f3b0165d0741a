import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from structformer.tasks.baselines.attention import (
    CompleteAttention,
    DenseAttention,
    GatherEinsum,
    PygAttention,
)
from structformer.tasks.efficiency_arms import OurAttention
from structformer.tasks.efficiency_inputs import random_graph

from structformer.graph import TokenGraph
from structformer.ops import naive

TOKENS, NEIGHBORS, HEADS, CHANNELS = 13, 5, 3, 7
WIDTH = HEADS * CHANNELS
SPARSE = [PygAttention, GatherEinsum, DenseAttention, OurAttention]


def complete(tokens):
    pairs = torch.cartesian_prod(torch.arange(tokens), torch.arange(tokens)).T
    return TokenGraph.from_edge_index(pairs, tokens)


def reference(arm, x, graph):
    """The arm's own projections, then attention by loops over dense rows."""
    query, key, value = (part(x).view(len(x), HEADS, CHANNELS) for part in arm._projections())
    return naive.sparse_attention(query, key, value, graph).flatten(1)


def weights(arm):
    return [weight for part in arm._projections() for weight in part.parameters()]


def check(arm, x, graph, upstream):
    out, expected = arm(x), reference(arm, x, graph)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    wanted = [x, *weights(arm)]
    grads = torch.autograd.grad(out, wanted, upstream)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, wanted, upstream), rtol=1e-8, atol=1e-9)


def features(rng, tokens=TOKENS):
    return torch.randn(tokens, WIDTH, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("kind", SPARSE)
def test_values_and_gradients_equal_the_naive_twin(kind, rng):
    graph = random_graph(TOKENS, NEIGHBORS, rng)
    arm = kind(WIDTH, HEADS, graph).double()
    check(arm, features(rng).requires_grad_(), graph, features(rng))


def test_without_a_mask_all_tokens_are_heard(rng):
    arm = CompleteAttention(WIDTH, HEADS, random_graph(TOKENS, NEIGHBORS, rng)).double()
    check(arm, features(rng).requires_grad_(), complete(TOKENS), features(rng))


@pytest.mark.parametrize("kind", SPARSE[:3])
def test_with_our_projections_a_rival_computes_what_we_do(kind, rng):
    graph = random_graph(TOKENS, NEIGHBORS, rng)
    ours, rival = OurAttention(WIDTH, HEADS, graph), kind(WIDTH, HEADS, graph)
    x = features(rng).float()
    assert not torch.allclose(rival(x), ours(x), atol=1e-3)
    rival.take_projections(ours)
    torch.testing.assert_close(rival(x), ours(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", SPARSE)
def test_a_rival_that_trains_all_it_has_leaves_nothing_without_a_gradient(kind, rng):
    arm = kind(WIDTH, HEADS, random_graph(TOKENS, NEIGHBORS, rng))
    arm(features(rng).float()).square().sum().backward()
    trained = [weight for weight in arm.parameters() if weight.requires_grad]
    assert len(trained) == 6
    assert all(weight.grad is not None for weight in trained)


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([*SPARSE, CompleteAttention]), st.permutations(range(TOKENS)))
def test_permuted_tokens_permute_the_output(kind, order):
    generator = torch.Generator().manual_seed(3)
    graph, order = random_graph(TOKENS, NEIGHBORS, generator), torch.tensor(order)
    place = torch.argsort(order)
    x = features(generator)
    moved = TokenGraph.from_edge_index(place[graph.to_edge_index()[0]], TOKENS)
    first, second = kind(WIDTH, HEADS, graph).double(), kind(WIDTH, HEADS, moved).double()
    second.take_projections(first)
    torch.testing.assert_close(second(x[order]), first(x)[order], rtol=1e-9, atol=1e-10)


def test_heads_must_divide_the_width(rng):
    with pytest.raises(ValueError, match=r"heads must divide the width, 21 \(got 4\)"):
        DenseAttention(WIDTH, 4, random_graph(TOKENS, NEIGHBORS, rng))


def test_gathering_needs_rows_of_one_length():
    graph = TokenGraph.from_edge_index(torch.tensor([[0, 1, 2], [0, 0, 1]]), 3)
    with pytest.raises(ValueError, match=r"as many neighbours \(got 0 to 2\)"):
        GatherEinsum(WIDTH, HEADS, graph)

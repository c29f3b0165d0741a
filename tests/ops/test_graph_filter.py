import pytest
import torch

import structformer as sf
from structformer.ops import edge_sum, graph_filter, naive
from structformer.ops.paths import possible_paths

PATHS = pytest.mark.parametrize("path", [None, *possible_paths()])
TOKENS, EDGES, CHANNELS = 13, 41, 3
COEFFICIENTS = [0.3, -1.1, 0.0, 0.7, 0.2]


def given(rng, tokens=TOKENS, edges=EDGES, channels=CHANNELS):
    graph = sf.TokenGraph.from_edge_index(torch.randint(tokens, (2, edges), generator=rng), tokens)
    weights = torch.rand(graph.num_edges, generator=rng, dtype=torch.float64)
    h = torch.randn(tokens, channels, generator=rng, dtype=torch.float64)
    return weights.requires_grad_(), h.requires_grad_(), graph


@PATHS
@pytest.mark.parametrize("coefficients", [COEFFICIENTS, [0.5], [0.0, 2.0]])
def test_it_equals_its_twin(path, coefficients, rng):
    weights, h, graph = given(rng)
    fast = graph_filter(weights, h, graph, coefficients, path=path)
    twin = naive.graph_filter(weights, h, graph, coefficients)
    torch.testing.assert_close(fast, twin, rtol=1e-10, atol=1e-11)
    upstream = torch.randn(fast.shape, generator=rng, dtype=torch.float64)
    mine = torch.autograd.grad(fast, (weights, h), upstream)
    theirs = torch.autograd.grad(twin, (weights, h), upstream, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


@PATHS
def test_many_channels_are_taken_in_parts(path, rng):
    weights, h, graph = given(rng, channels=101)
    upstream = torch.randn(TOKENS, 101, generator=rng, dtype=torch.float64)
    outs = (
        graph_filter(weights, h, graph, COEFFICIENTS, path=path),
        naive.graph_filter(weights, h, graph, COEFFICIENTS),
    )
    torch.testing.assert_close(*(torch.autograd.grad(out, (weights, h), upstream) for out in outs))


@PATHS
@pytest.mark.parametrize("moves", ["weights", "h"])
def test_only_what_is_asked_for_has_a_gradient(path, moves, rng):
    weights, h, graph = given(rng)
    (h if moves == "weights" else weights).requires_grad_(False)
    outs = (
        graph_filter(weights, h, graph, COEFFICIENTS, path=path),
        naive.graph_filter(weights, h, graph, COEFFICIENTS),
    )
    asked = weights if moves == "weights" else h
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), asked) for out in outs))


@PATHS
def test_gradcheck(path, rng):
    weights, h, graph = given(rng, 5, 11, 2)
    assert torch.autograd.gradcheck(
        lambda a, b: graph_filter(a, b, graph, COEFFICIENTS, path=path), (weights, h)
    )


@PATHS
def test_it_is_steps_along_the_edges_one_after_the_other(path, rng):
    weights, h, graph = given(rng, 97, 503, 7)
    weights, h = weights.float(), h.float()
    total, state = COEFFICIENTS[0] * h, h
    for c in COEFFICIENTS[1:]:
        state = edge_sum(weights[:, None], state[:, None], graph)[:, 0]
        total = total + c * state
    torch.testing.assert_close(graph_filter(weights, h, graph, COEFFICIENTS, path=path), total)


@PATHS
def test_other_types_and_empty_graphs(path, rng):
    weights, h, graph = given(rng)
    half = graph_filter(weights.half(), h.half(), graph, COEFFICIENTS, path=path)
    assert half.dtype == torch.float16
    torch.testing.assert_close(
        half.double(), graph_filter(weights, h, graph, COEFFICIENTS), rtol=0.02, atol=0.02
    )
    bare = sf.TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), TOKENS)
    alone = graph_filter(weights[:0], h, bare, COEFFICIENTS, path=path)
    torch.testing.assert_close(alone, COEFFICIENTS[0] * h)
    alone.sum().backward()
    torch.testing.assert_close(h.grad, torch.full_like(h, COEFFICIENTS[0]))
    nothing = sf.TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 0)
    assert graph_filter(weights[:0], h[:0], nothing, COEFFICIENTS, path=path).shape == (0, CHANNELS)


def test_permuted_tokens_give_permuted_results(rng):
    weights, h, graph = given(rng)
    perm = torch.randperm(TOKENS, generator=rng)
    turned = graph.with_weight(weights.detach()).permute(perm)
    found = graph_filter(turned.weight, h[perm], turned, COEFFICIENTS)
    torch.testing.assert_close(found, graph_filter(weights, h, graph, COEFFICIENTS)[perm])


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused(rng):
    weights, h, graph = given(rng)
    with pytest.raises(ValueError, match=r"h must be \[13, channels\] \(got \[12, 3\]\)"):
        graph_filter(weights, h[1:], graph, [1.0])
    edges = graph.num_edges
    with pytest.raises(
        ValueError, match=rf"weights must be \[{edges}\], one an edge \(got \[{edges - 1}\]\)"
    ):
        graph_filter(weights[1:], h, graph, [1.0])
    with pytest.raises(ValueError, match="coefficients must be at least one"):
        graph_filter(weights, h, graph, [])
    with pytest.raises(ValueError, match="path must be"):
        graph_filter(weights, h, graph, [1.0], path="quick")
    two = sf.TokenGraph(torch.tensor([0, 1]), torch.tensor([0]), num_sources=2)
    with pytest.raises(ValueError, match="as many targets as sources"):
        graph_filter(torch.ones(1), h[:1], two, [1.0])

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.nn import ASAM, ASAMConfig

TOKENS, HEADS, CHANNELS, FEATURES = 11, 3, 5, 2
WIDTH = HEADS * CHANNELS


def random(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def weighted_graph(rng, targets=TOKENS, sources=TOKENS, heads=None):
    """A random graph with positive weights, in which the last target hears nothing."""
    heard = torch.rand(targets, sources, generator=rng) < 0.4
    heard[-1] = False
    row, col = heard.nonzero().T
    shape = (len(row),) if heads is None else (len(row), heads)
    weight = torch.rand(*shape, generator=rng, dtype=torch.float64) + 0.1
    return TokenGraph.from_edge_index(torch.stack([col, row]), targets, weight, num_sources=sources)


def layer(features=0, **changes):
    layer = ASAM(ASAMConfig(width=WIDTH, heads=HEADS, edge_features=features, **changes)).double()
    with torch.no_grad():  # away from the initial ones, so that the gates count head by head
        layer.structure_gate.copy_(torch.tensor([0.5, 1.0, 2.0]))
    return layer


def twin(asam, h, graph, source, message, features=None):
    """The formula of the docstring, head by head on dense matrices."""
    weight = graph.weight if graph.weight.ndim == 2 else graph.weight[:, None].expand(-1, HEADS)
    size = graph.num_targets, graph.num_sources
    outs, carried = [], []
    for head in range(HEADS):
        part = slice(head * CHANNELS, (head + 1) * CHANNELS)
        q, k, v = asam.query(h)[:, part], asam.key(source)[:, part], asam.value(message)[:, part]
        on_edges = asam.structure_gate[head] * (weight[:, head] + 1e-6).log()
        if features is not None:
            on_edges = on_edges + features @ asam.edge_score.weight[head]
        bias = h.new_full(size, -1e30).index_put((graph.row, graph.col), on_edges)
        a = (q @ k.T / math.sqrt(CHANNELS) + bias).softmax(-1) * (bias > -1e30)
        outs.append(a @ v)
        if features is not None:
            dense = h.new_zeros(*size, FEATURES).index_put((graph.row, graph.col), features)
            carried.append((a[:, :, None] * dense).sum(1))
    out = asam.output(torch.cat(outs, 1))
    return out if features is None else out + asam.edge_value(torch.cat(carried, 1))


def check(asam, ours, theirs, inputs, rng):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    upstream = random(rng, *ours.shape)
    inputs = [*inputs, *asam.parameters()]
    found = torch.autograd.grad((ours * upstream).sum(), inputs)
    expected = torch.autograd.grad((theirs * upstream).sum(), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    assert all(grad.abs().sum() > 0 for grad in found), "every parameter must take part"


@pytest.mark.parametrize("heads", [None, HEADS])
def test_equals_the_dense_twin(rng, heads):
    asam, h, graph = layer(), random(rng, TOKENS, WIDTH).requires_grad_(), weighted_graph(rng, heads=heads)
    graph.weight.requires_grad_()
    check(asam, asam(h, graph), twin(asam, h, graph, h, h), [h, graph.weight], rng)


def test_edge_features_enter_scores_and_messages(rng):
    asam, h, graph = layer(FEATURES), random(rng, TOKENS, WIDTH).requires_grad_(), weighted_graph(rng)
    features = random(rng, graph.num_edges, FEATURES).requires_grad_()
    ours, theirs = asam(h, graph, edge_features=features), twin(asam, h, graph, h, h, features)
    check(asam, ours, theirs, [h, features], rng)


def test_targets_sources_and_messages_may_differ(rng):
    asam, graph = layer(), weighted_graph(rng, 7, 13)
    h, source, message = (random(rng, n, WIDTH).requires_grad_() for n in (7, 13, 13))
    ours = asam(h, graph, source=source, message=message)
    check(asam, ours, twin(asam, h, graph, source, message), [h, source, message], rng)


def test_a_token_that_hears_nothing_gets_the_output_bias(rng):
    asam = layer(FEATURES)
    graph = weighted_graph(rng)
    out = asam(random(rng, TOKENS, WIDTH), graph, edge_features=random(rng, graph.num_edges, FEATURES))
    assert torch.equal(out[-1], asam.output.bias)


def test_a_graph_without_weights_steers_nothing(rng):
    asam, h, graph = layer(), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    even = graph.with_weight(torch.full_like(graph.weight, 0.25))
    torch.testing.assert_close(asam(h, graph.with_weight(None)), asam(h, even))


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_the_output(seed, shuffled):
    rng = torch.Generator().manual_seed(seed)
    asam, h, graph = layer(FEATURES), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    features = random(rng, graph.num_edges, FEATURES)
    perm = shuffled(torch.tensor([0, TOKENS]), seed)
    place = torch.empty_like(perm)
    place[perm] = torch.arange(TOKENS)
    edges, weight = graph.to_edge_index()
    moved = TokenGraph.from_edge_index(place[edges], TOKENS, torch.cat([weight[:, None], features], 1))
    features_moved, moved = moved.weight[:, 1:], moved.with_weight(moved.weight[:, 0])
    expected = asam(h, graph, edge_features=features)[perm]
    found = asam(h[perm], moved, edge_features=features_moved)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_weights_are_dropped_in_training_only(rng):
    asam, h, graph = layer(dropout=0.5), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    assert not torch.equal(asam(h, graph), asam(h, graph))
    asam.eval()
    torch.testing.assert_close(asam(h, graph), twin(asam, h, graph, h, h))


@pytest.mark.parametrize("heads", [0, 4])
def test_heads_must_divide_the_width(heads):
    with pytest.raises(ValueError, match=rf"heads must divide width \(got heads={heads}, width=15\)"):
        ASAMConfig(width=15, heads=heads)


def test_edge_features_of_another_width_are_refused(rng):
    graph = weighted_graph(rng)
    with pytest.raises(ValueError, match=r"edge_features must have 0 features \(got 2\)"):
        layer()(random(rng, TOKENS, WIDTH), graph, edge_features=random(rng, graph.num_edges, FEATURES))

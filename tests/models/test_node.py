from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.models import NodeModel, SOESEncoderConfig, TokenInput
from structformer.models.node import propagate, reached, sure
from structformer.models.ressformer import ReSSFormerConfig
from structformer.tokens import TokenSet

FEATURES, CLASSES = 5, 3
PTR = torch.tensor([0, 7, 8, 19])
EDGES = torch.tensor([[0, 6, 18, 9, 3, 12], [1, 1, 8, 17, 6, 11]])
CONFIGS = {
    "soes": SOESEncoderConfig,
    "ressformer": partial(ReSSFormerConfig, depth=2, slots=3, experts=3),
    "halting": partial(ReSSFormerConfig, steps=5, halting="convergence", threshold=0.6),
}
kinds = pytest.mark.parametrize("kind", CONFIGS)


def nodes(rng):
    return TokenSet(torch.randn(19, FEATURES, generator=rng, dtype=torch.float64), PTR, EDGES)


def labels():
    known = torch.zeros(19, CLASSES, dtype=torch.float64)
    known[[0, 5, 9, 16], [0, 1, 2, 1]] = 1.0
    return known


def model(kind="soes"):
    config = CONFIGS[kind](width=10, heads=2, neighbors=3, affinity=5)
    model = NodeModel(TokenInput(FEATURES), CLASSES, config).double().eval()
    with torch.no_grad():  # away from the initial zeros
        model.head.weight.normal_()
        model.travelled.weight.normal_()
    return model


@kinds
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_the_scores(kind, seed, shuffled):
    tokens, perm, read = nodes(torch.Generator().manual_seed(seed)), shuffled(PTR, seed), model(kind)
    expected = read(tokens, labels()).outputs[perm]
    found = read(tokens.permute(perm), labels()[perm]).outputs
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@kinds
def test_a_graph_alone_gives_what_it_gives_in_company(rng, kind):
    tokens, known, read = nodes(rng), labels(), model(kind)
    together = read(tokens, known).outputs
    for place, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone = read(tokens.select(torch.tensor([place])), known[a:b]).outputs
        torch.testing.assert_close(alone, together[a:b], rtol=0, atol=1e-9)


@kinds
def test_nothing_crosses_sets(rng, kind):
    tokens, known, read = nodes(rng), labels().requires_grad_(), model(kind)
    tokens.x.requires_grad_()
    out = read(tokens, known).outputs[8:]
    grads = torch.autograd.grad(out.square().sum(), [tokens.x, known])
    assert all(grad[8:].abs().sum() > 0 for grad in grads)
    assert all((grad[:8] == 0).all() for grad in grads)


@pytest.mark.parametrize("kind", ["soes", "ressformer"])
def test_gradients_reach_every_parameter(rng, kind):
    read = model(kind)
    read(nodes(rng), labels()).outputs.square().sum().backward()
    for name, parameter in read.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_labels_spread_as_the_formula_says(rng, dense):
    graph = model()(nodes(rng)).encoded.graphs[-1]
    step, state, known = dense(graph), labels(), labels()
    for _ in range(7):
        state = 0.8 * step @ state + 0.2 * known
    found = propagate(graph, known, spread=0.8, rounds=7)
    arrived = state.sum(1) > 1e-9
    torch.testing.assert_close(found[arrived], (state / state.sum(1, keepdim=True))[arrived])
    assert (found[~arrived] == 1 / CLASSES).all()
    torch.testing.assert_close(found.sum(1), torch.ones(19, dtype=torch.float64))


def test_features_travel_as_the_formula_says(rng, dense):
    tokens = nodes(rng)
    graph = model()(tokens).encoded.graphs[-1]
    step, x = dense(graph), tokens.x
    expected = (x + step @ x + step @ step @ x + step @ step @ step @ x) / 4
    torch.testing.assert_close(reached(graph, x, 3), expected)
    assert torch.equal(reached(graph, x, 0), x)


def test_in_training_some_tokens_are_missed_altogether(rng, monkeypatch):
    seen, (tokens, read) = [], (nodes(rng), model().train())
    monkeypatch.setattr("structformer.models.node.reached", lambda graph, h, reach: seen.append(h) or h)
    read.dropout.p = 0.5
    read(tokens, labels())
    whole = read.travelling(tokens.x)
    missed = (seen[0] == 0).all(1)
    assert 2 < missed.sum() < 17
    torch.testing.assert_close(seen[0][~missed], 2 * whole[~missed])
    read.eval()(tokens, labels())
    torch.testing.assert_close(seen[1], whole)


def test_a_token_that_no_label_reaches_is_of_no_class():
    edges = torch.tensor([[0, 2], [1, 2]])
    graph = TokenGraph.from_edge_index(edges, 3, torch.ones(2, dtype=torch.float64))
    found = propagate(graph, labels()[:3, :2], spread=0.9, rounds=3)
    assert found.tolist() == [[1, 0], [1, 0], [0.5, 0.5]]


def test_at_first_labels_decide_alone(rng):
    config = SOESEncoderConfig(width=10, heads=2, neighbors=1, affinity=5)
    fresh = NodeModel(TokenInput(FEATURES), CLASSES, config).double().eval()
    out = fresh(nodes(rng), labels())
    assert (out.read == 0).all()
    arrived = out.spread.amax(1) > 1 / CLASSES
    assert arrived.sum() > 4
    assert torch.equal(out.outputs[arrived].argmax(1), out.spread[arrived].argmax(1))


def test_no_labels_are_labels_of_nobody(rng):
    tokens, read = nodes(rng), model()
    out = read(tokens)
    assert torch.equal(out.outputs, read(tokens, torch.zeros_like(out.outputs)).outputs)
    with torch.no_grad():
        silent = model()
        silent.head.weight.zero_()
        silent.head.bias.zero_()
        silent.travelled.weight.zero_()
    assert (silent(tokens).spread == 1 / CLASSES).all()
    (grad,) = torch.autograd.grad(out.outputs[3, 0], read.head.weight)
    assert grad.abs().sum() > 0, "what the encoder reads still counts"


def test_what_is_read_spreads_as_loudly_as_it_is_sure():
    found = sure(torch.tensor([[9.0, -9.0, -9.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], torch.zeros(3), atol=1e-6, rtol=0)
    shares = torch.tensor([2.0, 0.0, 0.0]).softmax(0)
    loud = 1 + float((shares * shares.log()).sum()) / torch.tensor(3.0).log()
    torch.testing.assert_close(found[2], loud * shares)


def test_links_asked_for_before_are_the_same_links(rng):
    tokens, read = nodes(rng), model()
    assert torch.equal(read(tokens, labels(), read.links(tokens)).outputs, read(tokens, labels()).outputs)

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.nn import ASAM, ASAMConfig
from structformer.ops import naive

TOKENS, HEADS, CHANNELS, FEATURES, TOP = 11, 3, 5, 2, 3
WIDTH = HEADS * CHANNELS
SWITCHES = {
    "softmax": {},
    "sparsemax": {"normalizer": "sparsemax"},
    "learned": {"normalizer": "learned"},
    "ungated": {"structure_gate": False},
    "top": {"top": TOP},
    "all": {"normalizer": "learned", "structure_gate": False, "top": TOP},
}
EACH_SWITCH = pytest.mark.parametrize("changes", SWITCHES.values(), ids=SWITCHES)


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
    with torch.no_grad():  # away from the first values, so that each head has its own
        if layer.structure_gate is not None:
            layer.structure_gate.copy_(torch.tensor([0.5, 1.0, 2.0]))
        if layer.alpha_logit is not None:
            layer.alpha_logit.copy_(torch.tensor([-1.5, 0.0, 1.0]))
    return layer


def twin(asam, h, graph, source, message, features=None):
    """The formula of the docstring, head by head on dense matrices."""
    weight = graph.weight if graph.weight.ndim == 2 else graph.weight[:, None].expand(-1, HEADS)
    size = graph.num_targets, graph.num_sources
    outs, carried = [], []
    for head in range(HEADS):
        part = slice(head * CHANNELS, (head + 1) * CHANNELS)
        q, k, v = asam.query(h)[:, part], asam.key(source)[:, part], asam.value(message)[:, part]
        on_edges = torch.zeros_like(weight[:, head])
        if asam.structure_gate is not None:
            on_edges = asam.structure_gate[head] * (weight[:, head] + 1e-6).log()
        if features is not None:
            on_edges = on_edges + features @ asam.edge_score.weight[head]
        bias = h.new_full(size, -torch.inf).index_put((graph.row, graph.col), on_edges)
        scores = q @ k.T / math.sqrt(CHANNELS) + bias
        if asam.config.top is not None:
            last = scores.sort(-1, descending=True).values[:, asam.config.top - 1 : asam.config.top]
            scores = scores.masked_fill(scores < last, -torch.inf)
        rowptr = torch.arange(graph.num_targets + 1) * graph.num_sources
        a = naive.segment_entmax(scores.flatten(), rowptr, asam.alpha[head]).view(size)
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


@EACH_SWITCH
@pytest.mark.parametrize("heads", [None, HEADS])
def test_equals_the_dense_twin(rng, heads, changes):
    asam, graph = layer(**changes), weighted_graph(rng, heads=heads)
    h = random(rng, TOKENS, WIDTH).requires_grad_()
    graph.weight.requires_grad_()
    inputs = [h] if asam.structure_gate is None else [h, graph.weight]
    check(asam, asam(h, graph), twin(asam, h, graph, h, h), inputs, rng)


@EACH_SWITCH
def test_edge_features_enter_scores_and_messages(rng, changes):
    asam, h = layer(FEATURES, **changes), random(rng, TOKENS, WIDTH).requires_grad_()
    graph = weighted_graph(rng)
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


@EACH_SWITCH
def test_a_graph_without_weights_steers_nothing(rng, changes):
    asam, h, graph = layer(**changes), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    even = graph.with_weight(torch.full_like(graph.weight, 0.25))
    torch.testing.assert_close(asam(h, graph.with_weight(None)), asam(h, even))


@EACH_SWITCH
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_the_output(changes, shuffled, seed):
    rng = torch.Generator().manual_seed(seed)
    asam, h, graph = layer(FEATURES, **changes), random(rng, TOKENS, WIDTH), weighted_graph(rng)
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


@EACH_SWITCH
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_repeated_tokens_are_heard_alike_in_any_order(changes, shuffled, seed):
    """Repeated tokens tie, at the cut too, where none of them may be kept for the place it has."""
    rng = torch.Generator().manual_seed(seed)
    asam = layer(**changes)
    h = random(rng, 5, WIDTH)[torch.randint(5, (TOKENS,), generator=rng)]
    everyone = torch.ones(TOKENS, TOKENS).nonzero().T
    graph = TokenGraph.from_edge_index(everyone, TOKENS, torch.full((TOKENS**2,), 0.25).double())
    perm = shuffled(torch.tensor([0, TOKENS]), seed)
    torch.testing.assert_close(asam(h[perm], graph), asam(h, graph)[perm], rtol=0, atol=1e-9)


@EACH_SWITCH
def test_sets_in_a_batch_do_not_meet(rng, changes):
    asam = layer(**changes)
    sizes, starts = [7, 1, 13], [0, 7, 8]
    graphs = [weighted_graph(rng, n, n) for n in sizes]
    states = [random(rng, n, WIDTH).requires_grad_() for n in sizes]
    edges = [g.to_edge_index()[0] + start for g, start in zip(graphs, starts, strict=True)]
    packed = TokenGraph.from_edge_index(torch.cat(edges, 1), 21, torch.cat([g.weight for g in graphs]))
    out = asam(torch.cat(states), packed).split(sizes)
    for own, h, graph in zip(out, states, graphs, strict=True):
        torch.testing.assert_close(own, asam(h, graph), rtol=0, atol=1e-12)
    first, *others = torch.autograd.grad(out[0].square().sum(), states)
    assert first.abs().sum() > 0
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in others)


@EACH_SWITCH
def test_what_comes_later_is_not_heard_where_no_edge_comes_from_it(rng, changes):
    asam, h = layer(**changes), random(rng, TOKENS, WIDTH)
    earlier = torch.ones(TOKENS, TOKENS).tril().nonzero().T.flip(0)
    weight = torch.rand(earlier.shape[1], generator=rng, dtype=torch.float64) + 0.1
    graph = TokenGraph.from_edge_index(earlier, TOKENS, weight)
    slope = torch.autograd.functional.jacobian(lambda x: asam(x, graph), h).abs().sum((1, 3))
    assert torch.equal(slope.triu(1), torch.zeros_like(slope))
    assert (slope.diagonal() > 0).all()


def heard(asam, h, graph):
    """Return whether each head of each token hears each other one, [tokens, heads, tokens]."""
    asam.value, asam.output = torch.nn.Identity(), torch.nn.Identity()
    slope = torch.autograd.functional.jacobian(lambda message: asam(h, graph, message=message), h)
    return slope.unflatten(1, (HEADS, CHANNELS)).abs().sum((2, 4)) > 0


def test_a_head_hears_its_top_alone(rng):
    asam, h, graph = layer(top=TOP), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    found = heard(asam, h, graph)
    assert torch.equal(found.sum(2), graph.degree().clamp(max=TOP)[:, None].expand(-1, HEADS))
    assert not torch.equal(found[:, 0], found[:, 1]), "each head makes its own cut"
    everything = heard(layer(), h, graph)
    assert torch.equal(everything.sum(2), graph.degree()[:, None].expand(-1, HEADS))


@pytest.mark.parametrize("normalizer", ["sparsemax", "learned"])
def test_sparse_weights_are_really_zero(rng, normalizer):
    h, graph = random(rng, TOKENS, WIDTH), weighted_graph(rng)
    asam = layer(normalizer=normalizer)
    found = heard(asam, h, graph).sum(2)
    assert (found[:-1] > 0).all()
    assert (found < graph.degree()[:, None]).sum() > TOKENS


@pytest.mark.parametrize("normalizer", ["softmax", "sparsemax", "learned"])
def test_the_cut_is_that_of_a_graph_without_the_other_edges(rng, normalizer):
    asam = ASAM(ASAMConfig(width=CHANNELS, heads=1, normalizer=normalizer, top=TOP)).double()
    h, graph = random(rng, TOKENS, CHANNELS), weighted_graph(rng)
    scores = (asam.query(h) @ asam.key(h).T / math.sqrt(CHANNELS))[graph.row, graph.col]
    rows = (scores + (graph.weight + 1e-6).log()).tensor_split(graph.rowptr[1:-1])
    kept = torch.cat([a + row.argsort()[-TOP:] for a, row in zip(graph.rowptr, rows, strict=False)])
    edges, weight = graph.to_edge_index()
    cut = TokenGraph.from_edge_index(edges[:, kept], TOKENS, weight[kept])
    assert cut.num_edges < graph.num_edges
    whole = ASAM(ASAMConfig(width=CHANNELS, heads=1, normalizer=normalizer)).double()
    whole.load_state_dict(asam.state_dict())
    torch.testing.assert_close(asam(h, graph), whole(h, cut), rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalizer", ["softmax", "learned"])
def test_a_top_of_all_edges_changes_nothing(rng, normalizer):
    h, graph = random(rng, TOKENS, WIDTH), weighted_graph(rng)
    whole, cut = layer(normalizer=normalizer), layer(normalizer=normalizer, top=int(graph.degree().max()))
    cut.load_state_dict(whole.state_dict())
    assert torch.equal(cut(h, graph), whole(h, graph))


def test_half_precision_ties_nothing_that_differs(rng):
    asam, h = layer(structure_gate=False, top=TOP).bfloat16(), random(rng, 37, WIDTH).bfloat16()
    everyone = TokenGraph.from_edge_index(torch.ones(37, 37).nonzero().T, 37)
    assert (heard(asam, h, everyone).sum(2) == TOP).all()


def test_alpha_passes_gradcheck(rng):
    asam, h, graph = layer(normalizer="learned", top=TOP), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    assert torch.autograd.gradcheck(
        lambda logit: torch.func.functional_call(asam, {"alpha_logit": logit}, (h, graph)),
        asam.alpha_logit.detach().requires_grad_(),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("moved", "alpha"), [(-1e4, 1.02), (0, 1.5), (1e4, 2.0)])
def test_a_learned_alpha_starts_in_the_middle_and_keeps_its_bounds(rng, dtype, moved, alpha):
    asam = ASAM(ASAMConfig(width=WIDTH, heads=HEADS, normalizer="learned", top=TOP)).to(dtype)
    with torch.no_grad():
        asam.alpha_logit.add_(moved)
    torch.testing.assert_close(asam.alpha, torch.full((HEADS,), alpha, dtype=dtype))
    assert (asam.alpha <= 2).all()
    graph = weighted_graph(rng)
    out = asam(100 * random(rng, TOKENS, WIDTH).to(dtype), graph.with_weight(graph.weight.to(dtype)))
    out.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in asam.parameters())


@pytest.mark.parametrize(
    ("normalizer", "alpha"), [("softmax", 1.0), ("entmax15", 1.5), ("sparsemax", 2.0), (1.3, 1.3)]
)
def test_a_fixed_alpha_is_told_too(normalizer, alpha):
    asam = layer(normalizer=normalizer)
    assert torch.equal(asam.alpha, torch.full((HEADS,), alpha, dtype=torch.float64))
    assert asam.alpha_logit is None


def test_weights_are_dropped_in_training_only(rng):
    asam, h, graph = layer(dropout=0.5), random(rng, TOKENS, WIDTH), weighted_graph(rng)
    assert not torch.equal(asam(h, graph), asam(h, graph))
    asam.eval()
    torch.testing.assert_close(asam(h, graph), twin(asam, h, graph, h, h))


def test_edge_features_of_another_width_are_refused(rng):
    graph = weighted_graph(rng)
    with pytest.raises(ValueError, match=r"edge_features must have 0 features \(got 2\)"):
        layer()(random(rng, TOKENS, WIDTH), graph, edge_features=random(rng, graph.num_edges, FEATURES))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 0}, r"heads must divide width \(got heads=0, width=15\)"),
        ({"heads": 4}, r"heads must divide width \(got heads=4, width=15\)"),
        ({"top": 0}, r"top must be at least 1, or None to keep all edges \(got 0\)"),
        ({"normalizer": "hardmax"}, r"normalizer must be .* \(got 'hardmax'\)"),
        ({"normalizer": 0.5}, r"alpha must be at least 1 and finite \(got 0.5\)"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ASAMConfig(width=15, **({"heads": 3} | changes))

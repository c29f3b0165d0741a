import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from structformer.graph import TokenGraph
from structformer.nn import SOES, SOESConfig
from structformer.ops import neighbors

WIDTH, AFFINITY, K = 13, 5, 3
PTR = torch.tensor([0, 7, 8, 19])  # sets of 7, 1 and 11 tokens
TOKENS = 19
NORMALIZERS = ["softmax", "sparsemax", "entmax15", 1.3]


def layer(**changes):
    config = {"width": WIDTH, "affinity": AFFINITY, "neighbors": K, **changes}
    return SOES(SOESConfig(**config)).double()


def states(rng, tokens=TOKENS):
    return torch.randn(tokens, WIDTH, generator=rng, dtype=torch.float64)


def own_edges(tokens=TOKENS):
    edge_index = torch.tensor([[0, 6, 18, 9, 9], [1, 1, 8, 9, 17]])
    return edge_index, TokenGraph.from_edge_index(edge_index, tokens)


def affinities(soes, h):
    u, w = (torch.nn.functional.normalize(linear(h), dim=-1) for linear in (soes.query, soes.key))
    return soes.log_sharpness.exp() * u @ w.T


def choice(scores, ptr, k):
    """N(i) as a mask, token by token: the token itself and the k largest scores of its set."""
    scores = scores.tolist()
    mask = torch.eye(len(scores), dtype=torch.bool)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        for i in range(start, stop):
            others = [j for j in range(start, stop) if j != i]
            mask[i, sorted(others, key=lambda j: -scores[i][j])[:k]] = True
    return mask


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_equal_the_dense_twin_values_and_gradients(rng, dense, weighted):
    soes, h = layer(), states(rng).requires_grad_()
    edge_index, edges = own_edges()
    prior = torch.ones(TOKENS, TOKENS, dtype=torch.float64)
    if weighted:
        edges = edges.with_weight(torch.rand(edges.num_edges, generator=rng, dtype=torch.float64) + 1e-9)
        prior[edges.row, edges.col] = edges.weight
    scores = affinities(soes, h)
    is_own = torch.zeros(TOKENS, TOKENS, dtype=torch.bool)
    is_own[edge_index[1], edge_index[0]] = True
    mask = choice(scores.detach(), PTR, K) | is_own
    scores = scores + soes.given_bonus * is_own + prior.log()
    twin = scores.masked_fill(~mask, float("-inf")).softmax(-1)
    graph = soes(h, PTR, given=edges)
    torch.testing.assert_close(dense(graph), twin, rtol=1e-10, atol=1e-12)
    upstream = torch.randn(TOKENS, TOKENS, generator=rng, dtype=torch.float64)
    inputs = [h, *soes.parameters()]
    ours = torch.autograd.grad((dense(graph) * upstream).sum(), inputs)
    theirs = torch.autograd.grad((twin * upstream).sum(), inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    assert all(grad.abs().sum() > 0 for grad in ours), "every parameter must take part"


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_weights_of_a_token_sum_to_one(rng, dense, normalizer):
    weights = dense(layer(normalizer=normalizer)(states(rng), PTR))
    torch.testing.assert_close(weights.sum(1), torch.ones(TOKENS, dtype=torch.float64))
    assert (weights >= 0).all()


def test_sparsemax_gives_exact_zeros(rng):
    assert (layer(normalizer="sparsemax", sharpness=40.0)(states(rng), PTR).weight == 0).any()


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_the_graph(seed, shuffled, dense):
    rng = torch.Generator().manual_seed(seed)
    soes, h, perm = layer(), states(rng), shuffled(PTR, seed)
    edge_index, edges = own_edges()
    place = torch.empty_like(perm)
    place[perm] = torch.arange(TOKENS)
    moved = TokenGraph.from_edge_index(place[edge_index], TOKENS)
    expected = dense(soes(h, PTR, given=edges))[perm][:, perm]
    found = dense(soes(h[perm], PTR, given=moved))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_set_alone_gives_the_graph_that_it_gives_in_company(rng, dense):
    soes, h = layer(), states(rng)
    together = dense(soes(h, PTR))
    for start, stop in zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True):
        alone = dense(soes(h[start:stop]))
        torch.testing.assert_close(together[start:stop, start:stop], alone, rtol=0, atol=1e-12)
        assert together[start:stop, :start].sum() == together[start:stop, stop:].sum() == 0


def test_no_gradient_crosses_sets(rng):
    h = states(rng).requires_grad_()
    graph = layer()(h, PTR)
    inside = graph.weight[graph.row < 7]
    (grad,) = torch.autograd.grad((inside * torch.arange(len(inside))).sum(), h)
    assert grad[:7].abs().sum() > 0
    assert (grad[7:] == 0).all()


def test_causal_tokens_hear_nothing_that_comes_later(rng):
    h = states(rng).requires_grad_()
    graph = layer()(h, PTR, causal=True, given=own_edges()[1])
    assert (graph.col <= graph.row).all()
    for i in range(TOKENS):
        own = graph.weight[graph.row == i]
        (grad,) = torch.autograd.grad((own * torch.arange(len(own))).sum(), h, retain_graph=True)
        assert (grad[i + 1 :] == 0).all()


def test_own_edges_are_kept_and_the_bonus_raises_them(rng, dense):
    soes, h = layer(neighbors=1), states(rng)
    edge_index, edges = own_edges()
    graph = soes(h, PTR, given=edges)
    assert graph.given is not None
    marked = torch.stack([graph.col, graph.row])[:, graph.given]
    assert {*map(tuple, marked.T.tolist())} == {*map(tuple, edge_index.T.tolist())}
    with torch.no_grad():
        soes.given_bonus += 2.0
    # All edges of token 9 but its self-loop, which is the data's own too, compete with that loop.
    assert dense(soes(h, PTR, given=edges))[9, 9] > dense(graph)[9, 9]


def test_without_learning_only_own_edges_and_loops_remain(rng):
    edge_index, edges = own_edges()
    graph = layer(learn=False)(states(rng), PTR, given=edges)
    found = {*zip(graph.col.tolist(), graph.row.tolist(), strict=True)}
    assert found == {(i, i) for i in range(TOKENS)} | {*map(tuple, edge_index.T.tolist())}


def test_rows_that_exclude_themselves_have_no_loop(rng):
    graph = layer()(states(rng), PTR, exclude_self=True)
    assert (graph.row != graph.col).all()
    assert graph.degree().tolist() == [K] * 7 + [0] + [K] * 11


def test_new_tokens_listen_to_known_ones(rng, dense):
    soes, h, known = layer(), states(rng, 4), states(rng, 11)
    graph = soes(h, torch.tensor([0, 1, 4]), source=known, source_ptr=torch.tensor([0, 6, 11]))
    assert (graph.num_targets, graph.num_sources) == (4, 11)
    assert graph.degree().tolist() == [K] * 4
    assert (graph.col[graph.row == 0] < 6).all()
    assert (graph.col[graph.row > 0] >= 6).all()
    torch.testing.assert_close(dense(graph).sum(1), torch.ones(4, dtype=torch.float64))


def test_other_states_of_the_same_tokens_may_be_the_source(rng):
    graph = layer()(states(rng), source=states(rng), exclude_self=True)
    assert (graph.row != graph.col).all()


def test_strangers_cannot_be_excluded_as_oneself(rng):
    with pytest.raises(ValueError, match="exclude_self"):
        layer()(states(rng, 4), source=states(rng, 11), exclude_self=True)


def test_a_known_topology_is_weighed_and_not_searched(rng, dense):
    soes, h = layer(), states(rng)
    graph = soes(h, PTR, given=own_edges()[1])
    again = soes(h, PTR, topology=graph.with_weight(None))
    assert again.col is graph.col
    torch.testing.assert_close(dense(again), dense(graph))


def test_more_neighbours_than_tokens_are_all_tokens(rng):
    assert layer(neighbors=50)(states(rng), PTR).degree().tolist() == [7] * 7 + [1] + [11] * 11


def test_at_first_a_token_listens_most_to_itself(rng, dense):
    weights = dense(layer()(states(rng)))
    assert (weights.argmax(1) == torch.arange(TOKENS)).all()


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("neighbors", 0), ("affinity", -2), ("sharpness", 0.0)]
)
def test_a_bad_configuration_names_the_field(field, value):
    with pytest.raises(ValueError, match=rf"{field} .*\(got {value}\)"):
        SOESConfig(**{field: value})


def test_the_configuration_is_shown():
    assert "neighbors=3" in repr(layer())


def test_tokens_are_chosen_by_other_states_of_theirs(rng):
    soes, h, speaker = layer(), states(rng), states(rng)
    graph = soes(h, PTR, speaker=speaker)
    u, w = soes.listening(h), soes.speaking(speaker)
    scores = soes.log_sharpness.exp() * u @ w.T
    assert torch.equal(written(graph) > 0, choice(scores, PTR, K))
    expected = scores.masked_fill(written(graph) == 0, -torch.inf).softmax(1)
    torch.testing.assert_close(written(graph), expected)
    with pytest.raises(ValueError, match="source and speaker were both given"):
        soes(h, PTR, source=speaker, source_ptr=PTR, speaker=speaker)


def written(graph):
    zeros = torch.zeros(graph.num_targets, graph.num_sources, dtype=torch.float64)
    return zeros.index_put((graph.row, graph.col), graph.weight)


def test_a_faint_weight_of_a_given_edge_is_not_lost(rng):
    soes, h = layer(neighbors=1).float(), states(rng).float()
    _, edges = own_edges()
    graphs = [soes(h, PTR, given=edges.with_weight(torch.full((5,), p))) for p in (1e-8, 2e-8)]
    faint, twice = (graph.weight[graph.given & (graph.row != graph.col)] for graph in graphs)
    torch.testing.assert_close(twice / faint, torch.full_like(faint, 2.0), rtol=1e-3, atol=0)


def test_locally_measured_weights_do_not_depend_on_how_near_neighbours_are(rng):
    """Halving every difference between affinities changes no weight."""
    u = F.normalize(torch.randn(7, 5, generator=rng, dtype=torch.float64), dim=1)
    w = torch.randn(11, 5, generator=rng, dtype=torch.float64)
    structure = SOES(SOESConfig(width=5, neighbors=4, affinity=5, local=True)).double()
    graph = neighbors(u, w, 4)
    near, far = (structure.weigh(u, w * size + 3, graph).weight for size in (0.5, 1.0))
    torch.testing.assert_close(near, far, rtol=0, atol=1e-12)
    rows = torch.zeros(7, dtype=torch.float64).index_add(0, graph.row, far)
    torch.testing.assert_close(rows, torch.ones_like(rows))
    # From the best edge to the worst the logarithm falls by the sharpness.
    fall = [far[graph.row == row].log().max() - far[graph.row == row].log().min() for row in range(7)]
    torch.testing.assert_close(torch.stack(fall), torch.full((7,), 4.0, dtype=torch.float64))


def test_where_all_neighbours_are_alike_they_weigh_alike():
    structure = SOES(SOESConfig(width=5, neighbors=3, affinity=5, local=True)).double()
    weight = structure(torch.ones(9, 5, dtype=torch.float64)).weight
    torch.testing.assert_close(weight, torch.full_like(weight, 1 / 4))
    assert (SOES(SOESConfig(width=5, local=True))(torch.ones(1, 5)).weight == 1).all()

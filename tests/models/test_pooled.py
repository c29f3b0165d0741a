from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models import PooledModel, SOESEncoderConfig, TokenInput
from structformer.models.pooled import prefer_given
from structformer.models.ressformer import ReSSFormerConfig
from structformer.tokens import TokenSet

FEATURES, OUTPUTS, EDGE_FEATURES = 3, 2, 5
PTR = torch.tensor([0, 7, 8, 19])
EDGES = torch.tensor([[0, 6, 18, 9], [1, 1, 8, 17]])
BINS = [[-1.0, 0.0, 1.0], [], [-2.0, 2.0]]
CONFIGS = {
    "soes": SOESEncoderConfig,
    "ressformer": partial(ReSSFormerConfig, depth=2, slots=3, experts=3),
}
kinds = pytest.mark.parametrize("kind", CONFIGS)


def sets(rng, edges=True):
    x = torch.randn(19, FEATURES, generator=rng, dtype=torch.float64)
    attributes = torch.randn(4, EDGE_FEATURES, generator=rng, dtype=torch.float64)
    kind = torch.randint(2, (19,), generator=rng)
    if not edges:
        return TokenSet(x, PTR, token_type=kind)
    return TokenSet(x, PTR, EDGES, attributes, token_type=kind)


def model(edge_features=EDGE_FEATURES, kind="soes", **changes):
    arguments = {"width": 10, "heads": 2, "neighbors": 3, "affinity": 5, "edge_features": edge_features}
    config = CONFIGS[kind](**arguments, **changes)
    given = TokenInput(FEATURES, BINS, token_types=2, edge_features=edge_features)
    return PooledModel(given, OUTPUTS, config).double().eval()


@kinds
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_the_order_of_tokens_changes_no_output(kind, seed, shuffled):
    tokens, pooled = sets(torch.Generator().manual_seed(seed)), model(kind=kind)
    expected, found = pooled(tokens), pooled(tokens.permute(shuffled(PTR, seed)))
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.sets, expected.sets, rtol=0, atol=1e-9)


@kinds
def test_a_set_alone_gives_what_it_gives_in_company(rng, kind):
    tokens, pooled = sets(rng), model(kind=kind)
    together = pooled(tokens).outputs
    for place in range(3):
        alone = pooled(tokens.select(torch.tensor([place]))).outputs
        torch.testing.assert_close(alone, together[place : place + 1], rtol=0, atol=1e-12)


@kinds
def test_no_gradient_crosses_sets(rng, kind):
    tokens, pooled = sets(rng), model(kind=kind)
    tokens.x.requires_grad_()
    (grad,) = torch.autograd.grad(pooled(tokens).outputs[0].sum(), tokens.x)
    assert grad[:7].abs().sum() > 0
    assert (grad[7:] == 0).all()


@kinds
def test_gradients_reach_every_parameter(rng, kind):
    pooled, tokens = model(kind=kind), sets(rng)
    pooled(tokens).outputs.square().sum().backward()
    for name, parameter in pooled.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("edges", [False, True])
def test_sets_need_no_edges(rng, edges):
    out = model(0)(sets(rng, edges=False)) if not edges else model()(sets(rng))
    assert out.outputs.shape == (3, OUTPUTS)
    assert len(out.encoded.graphs) == 2


def test_a_ressformer_has_a_graph_a_step_and_layer(rng):
    out = model(kind="ressformer", steps=3)(sets(rng))
    assert len(out.encoded.graphs) == 3 * 2


@kinds
def test_edges_of_the_data_are_preferred_in_every_block(kind):
    encoder = model(kind=kind).encoder
    assert [block.structure.given_bonus.item() for block in encoder.blocks] == [4.0, 4.0]
    prefer_given(encoder, bonus=7.0, sharpness=3.0)
    for block in encoder.blocks:
        assert block.structure.given_bonus.item() == 7
        assert block.structure.log_sharpness.exp().item() == pytest.approx(3)


@kinds
def test_edges_without_attributes_count_as_zeros(rng, kind):
    tokens, pooled = sets(rng), model(kind=kind)
    tokens.edge_attr = torch.zeros(4, EDGE_FEATURES, dtype=torch.float64)
    expected = pooled(tokens).outputs
    del tokens.edge_attr
    torch.testing.assert_close(pooled(tokens).outputs, expected)


@kinds
@pytest.mark.parametrize("edge_features", [0, EDGE_FEATURES])
def test_tokens_that_are_all_alike_may_come_in_any_order(rng, edge_features, kind):
    """On a ring without features only edges tell tokens apart; which of the equal others are heard is open."""
    ring = torch.stack([torch.arange(11), (torch.arange(11) + 1) % 11])
    edges = torch.cat([ring, ring.flip(0)], 1)
    attributes = torch.randn(22, edge_features, generator=rng, dtype=torch.float64) if edge_features else None
    tokens = TokenSet(torch.ones(11, FEATURES, dtype=torch.float64), None, edges, attributes)
    pooled = model(edge_features, kind)
    expected = pooled(tokens)
    for _ in range(7):
        perm = torch.randperm(11, generator=rng)
        found = pooled(tokens.permute(perm))
        torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.encoded.tokens, expected.encoded.tokens[perm], rtol=0, atol=1e-9)

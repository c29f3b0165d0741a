from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models import SOESEncoderConfig, TokenInput
from structformer.models.masked import MaskedEncoder
from structformer.models.ressformer import ReSSFormerConfig
from structformer.tokens import TokenSet

FEATURES = 3
PTR = torch.tensor([0, 7, 8, 19])
EDGES = torch.tensor([[0, 6, 18, 9, 12, 2], [1, 1, 8, 17, 11, 5]])
CONFIGS = {
    "soes": SOESEncoderConfig,
    "ressformer": partial(ReSSFormerConfig, depth=2, slots=3, experts=3),
}
kinds = pytest.mark.parametrize("kind", CONFIGS)


def sets(rng):
    return TokenSet(torch.randn(19, FEATURES, generator=rng, dtype=torch.float64), PTR, EDGES)


def hide(rng):
    return torch.rand(19, generator=rng) < 0.4


def model(edge_features=0, kind="soes"):
    config = CONFIGS[kind](width=10, heads=2, neighbors=3, affinity=5, edge_features=edge_features)
    return MaskedEncoder(TokenInput(FEATURES, edge_features=edge_features), config).double().eval()


@kinds
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_tokens_and_leaves_sets(kind, seed, shuffled):
    """Hidden tokens are all alike at first, so that ties between them must not change the result."""
    rng = torch.Generator().manual_seed(seed)
    tokens, masked, encoder, perm = sets(rng), hide(rng), model(kind=kind), shuffled(PTR, seed)
    expected, found = encoder(tokens, masked), encoder(tokens.permute(perm), masked[perm])
    torch.testing.assert_close(found.tokens, expected.tokens[perm], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.features, expected.features[perm], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.sets, expected.sets, rtol=0, atol=1e-9)


@kinds
def test_what_is_hidden_is_not_seen(rng, kind):
    tokens, masked = sets(rng), hide(rng)
    tokens.x.requires_grad_()
    out = model(kind=kind)(tokens, masked)
    (grad,) = torch.autograd.grad(out.features.square().sum() + out.sets.square().sum(), tokens.x)
    assert (grad[masked] == 0).all()
    assert (grad[~masked].abs().sum(1) > 0).all()


@kinds
def test_nothing_crosses_sets(rng, kind):
    tokens, masked = sets(rng), hide(rng)
    tokens.x.requires_grad_()
    out = model(kind=kind)(tokens, masked)
    (grad,) = torch.autograd.grad(out.features[8:].sum() + out.sets[2].sum(), tokens.x)
    assert (grad[:8] == 0).all()


@kinds
def test_gradients_reach_every_parameter(rng, kind):
    encoder = model(kind=kind)
    out = encoder(sets(rng), hide(rng))
    (out.features.square().sum() + out.sets.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("edge_features", [0, 2])
def test_nothing_need_be_hidden(rng, edge_features):
    tokens, encoder = sets(rng), model(edge_features)
    nothing = torch.zeros(19, dtype=torch.bool)
    assert torch.equal(encoder(tokens).features, encoder(tokens, nothing).features)

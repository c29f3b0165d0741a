from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models import PartsModel, SOESEncoderConfig, TokenInput
from structformer.models.ressformer import ReSSFormerConfig
from structformer.tokens import TokenSet

FEATURES, PARTS, OUTPUTS = 2, 3, 4
PTR = torch.tensor([0, 7, 8, 19])
EDGES = torch.tensor([[0, 6, 18, 9], [1, 1, 8, 17]])
CONFIGS = {"soes": SOESEncoderConfig, "ressformer": partial(ReSSFormerConfig, depth=2, slots=3, experts=3)}
kinds = pytest.mark.parametrize("kind", CONFIGS)


def sets(rng):
    return TokenSet(torch.randn(19, FEATURES, generator=rng, dtype=torch.float64), PTR, EDGES)


def model(kind="soes"):
    config = CONFIGS[kind](width=10, heads=2, neighbors=3, affinity=5, dropout=0.0)
    found = PartsModel(TokenInput(FEATURES), PARTS, OUTPUTS, config).double().eval()
    # Read-outs begin at zero, where nothing could be told from anything.
    torch.nn.init.normal_(found.straight.weight)
    return found


@kinds
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_the_order_of_tokens_changes_no_output(kind, seed, shuffled):
    tokens, parts = sets(torch.Generator().manual_seed(seed)), model(kind)
    perm = shuffled(PTR, seed)
    expected, found = parts(tokens), parts(tokens.permute(perm))
    assert expected.outputs.shape == (3, PARTS, OUTPUTS)
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.parts.share, expected.parts.share[perm], rtol=0, atol=1e-9)


@kinds
def test_a_set_alone_gives_what_it_gives_in_company(rng, kind):
    tokens, parts = sets(rng), model(kind)
    together = parts(tokens).outputs
    for place in range(3):
        alone = parts(tokens.select(torch.tensor([place]))).outputs
        torch.testing.assert_close(alone, together[place : place + 1], rtol=0, atol=1e-12)


@kinds
def test_no_gradient_crosses_sets(rng, kind):
    tokens, parts = sets(rng), model(kind)
    tokens.x.requires_grad_()
    (grad,) = torch.autograd.grad(parts(tokens).outputs[0].sum(), tokens.x)
    assert grad[:7].abs().sum() > 0
    assert (grad[7:] == 0).all()


@kinds
def test_gradients_reach_every_parameter(rng, kind):
    parts, tokens = model(kind), sets(rng)
    parts(tokens).outputs.square().sum().backward()
    for name, parameter in parts.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_to_say_where_the_clusters_of_a_set_are():
    drawn = torch.Generator().manual_seed(0)

    def batch(number):
        centre = 4 * torch.rand(number, PARTS, 2, generator=drawn) - 2
        belongs = torch.arange(PARTS).repeat(10)
        x = centre[:, belongs] + 0.05 * torch.randn(number, 30, 2, generator=drawn)
        return TokenSet(x.flatten(0, 1), ptr=30 * torch.arange(number + 1)), centre

    def distance(number):
        tokens, centre = batch(number)
        # From each centre to the nearest that is told.
        return torch.cdist(centre, network(tokens).outputs).amin(2).mean()

    torch.manual_seed(0)
    network = PartsModel(
        TokenInput(2), PARTS, 2, SOESEncoderConfig(width=16, heads=2, neighbors=4, dropout=0.0)
    )
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    before = distance(50)
    for _ in range(120):
        loss = distance(16)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after = distance(50)
    assert before > 1
    assert after < 0.2

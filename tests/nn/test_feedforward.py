import torch

from structformer.nn import FeedForward

TOKENS, WIDTH = 7, 5


def test_is_the_gated_formula_with_gradients_everywhere(rng):
    block = FeedForward(WIDTH, expansion=2.6).double()
    assert block.outer.in_features == 13
    x = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    a, b = (x @ block.inner.weight.T + block.inner.bias).split(13, dim=1)
    expected = (a * torch.nn.functional.gelu(b)) @ block.outer.weight.T + block.outer.bias
    torch.testing.assert_close(block(x), expected)
    block(x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


def test_each_token_is_on_its_own(rng):
    block = FeedForward(WIDTH).double()
    x = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(block(x)[3].sum(), x)
    assert grad[3].abs().sum() > 0
    assert (grad[torch.arange(TOKENS) != 3] == 0).all()


def test_features_are_dropped_in_training_only(rng):
    block = FeedForward(WIDTH, dropout=0.5)
    x = torch.randn(TOKENS, WIDTH, generator=rng)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))

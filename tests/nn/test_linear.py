import torch
from torch import nn

from structformer.nn.linear import Linear, together


def test_it_is_torchs_layer_in_all_but_speed(rng):
    torch.manual_seed(3)
    own = Linear(5, 3)
    torch.manual_seed(3)
    other = nn.Linear(5, 3)
    assert own.state_dict().keys() == other.state_dict().keys()
    x = torch.randn(2, 7, 5, generator=rng)
    torch.testing.assert_close(own(x), other(x))
    assert isinstance(own, nn.Linear)


class Doubled(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return 2 * self.layer(x)


def test_together_layers_do_what_they_do_alone(rng):
    layers = Linear(5, 3), Linear(5, 3, bias=False), Linear(5, 7)
    x = torch.randn(2, 11, 5, generator=rng)
    torch.testing.assert_close(together(x, *layers), tuple(layer(x) for layer in layers))


def test_replaced_layers_and_hooks_are_not_passed_over(rng):
    x, first, second = torch.randn(11, 5, generator=rng), Linear(5, 3), Linear(5, 3)
    torch.testing.assert_close(together(x, first, Doubled(second)), (first(x), 2 * second(x)))
    for register in (second.register_forward_hook, second.register_forward_pre_hook):
        called = []
        handle = register(lambda *_, called=called: called.append(1))
        together(x, first, second)
        handle.remove()
        assert called

import torch
from torch import nn

from structformer.nn.linear import Linear


def test_it_is_torchs_layer_in_all_but_speed(rng):
    torch.manual_seed(3)
    own = Linear(5, 3)
    torch.manual_seed(3)
    other = nn.Linear(5, 3)
    assert own.state_dict().keys() == other.state_dict().keys()
    x = torch.randn(2, 7, 5, generator=rng)
    torch.testing.assert_close(own(x), other(x))
    assert isinstance(own, nn.Linear)

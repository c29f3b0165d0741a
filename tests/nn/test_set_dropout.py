from itertools import pairwise

import torch

from structformer.nn import FeedForward, SetDropout

PTR = torch.tensor([0, 5, 5, 6, 13])


def test_a_set_loses_the_same_features_of_every_token_each_time_and_sets_lose_others():
    torch.manual_seed(0)
    drop = SetDropout(0.5, PTR, 13)
    x = torch.randn(13, 64, dtype=torch.float64)
    found = drop(x, "one")
    for a, b in pairwise(PTR.tolist()):
        gone = found[a:b] == 0
        assert (gone == gone[:1]).all()
        torch.testing.assert_close(found[a:b][~gone], 2 * x[a:b][~gone])
    assert (found[0] == 0).ne(found[5] == 0).any()
    assert torch.equal(drop(x, "one"), found)
    assert not torch.equal(drop(x, "another"), found)


def test_the_mean_stays():
    torch.manual_seed(0)
    ptr = torch.arange(20_001)
    assert abs(float(SetDropout(0.3, ptr, 20_000)(torch.ones(20_000, 2), "one").mean()) - 1) < 0.02


def test_a_feed_forward_network_drops_hidden_features():
    torch.manual_seed(0)
    layer, x = FeedForward(8, 2.0).double(), torch.randn(1, 8, dtype=torch.float64).expand(13, 8)
    found = layer(x, SetDropout(0.5, PTR, 13))
    assert (found[:5] == found[:1]).all()
    assert not torch.allclose(found[0], layer(x)[0])

import torch

from structformer.nn.dropout import Dropout


def test_it_drops_in_training_alone():
    torch.manual_seed(0)
    layer, x = Dropout(0.5), torch.ones(1000)
    share = float((layer(x) == 0).double().mean())
    assert 0.4 < share < 0.6
    assert layer.eval()(x) is x
    assert repr(layer) == "Dropout(p=0.5, inplace=False)"


def test_other_calls_do_not_wait_for_it():
    # Compiled and checkpointed models draw from the same generator as everyone.
    torch.manual_seed(5)
    first = Dropout(0.3)(torch.ones(100))
    torch.manual_seed(5)
    kept = torch.utils.checkpoint.checkpoint(Dropout(0.3), torch.ones(100), use_reentrant=False)
    assert torch.equal(first, kept)

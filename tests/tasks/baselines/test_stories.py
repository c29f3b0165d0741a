from itertools import pairwise

import pytest
import torch
from structformer.tasks.baselines.stories import DenseEncoder

PTR = torch.tensor([0, 5, 6, 13])


def make(shared, steps=3, set_dropout=0.0):
    torch.manual_seed(0)
    return DenseEncoder(12, 2, steps, shared, set_dropout=set_dropout).double().eval()


@pytest.mark.parametrize("shared", [False, True])
def test_sets_side_by_side_are_read_as_alone(shared):
    model, h = make(shared), torch.randn(13, 12, dtype=torch.float64)
    whole = model(h, PTR).tokens
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(model(h[a:b], torch.tensor([0, b - a])).tokens, whole[a:b])


def test_without_an_order_it_equals_the_layer_of_torch():
    model = make(shared=False, steps=1)
    block = model.blocks[0]
    reference = torch.nn.MultiheadAttention(12, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.project.weight)
        reference.in_proj_bias.copy_(block.project.bias)
        reference.out_proj.load_state_dict(block.output.state_dict())
    h = torch.randn(7, 12, dtype=torch.float64)
    x = block.norm_attention(h)[None]
    h_after = h + reference(x, x, x)[0][0]
    expected = model.norm(h_after + block.feed(block.norm_feed(h_after)))
    torch.testing.assert_close(model(h, torch.tensor([0, 7])).tokens, expected)


def test_a_shared_block_counts_its_steps_and_parameters_do_not_grow():
    sizes = [
        sum(p.numel() for p in make(shared, steps).parameters())
        for shared in (True, False)
        for steps in (2, 4)
    ]
    assert sizes[0] == sizes[1]
    assert sizes[3] > 1.9 * sizes[2]
    h = torch.randn(5, 12, dtype=torch.float64)
    one, two = (make(True, steps)(h, torch.tensor([0, 5])).tokens for steps in (1, 2))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize("shared", [False, True])
def test_features_are_dropped_of_whole_sets_in_training_alone(shared):
    model, h = make(shared, set_dropout=0.5), torch.randn(1, 12, dtype=torch.float64).expand(13, 12)
    assert torch.equal(model(h, PTR).tokens, model(h, PTR).tokens)
    trained = model.train()(h, PTR).tokens
    # Tokens that begin alike stay alike within a set, whatever was dropped; sets differ.
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(trained[a:b], trained[a : a + 1].expand(b - a, -1))
    assert not torch.allclose(trained[0], trained[6])
    assert not torch.allclose(trained, model(h, PTR).tokens)

from itertools import pairwise

import pytest
import torch
from structformer.tasks.baselines.bidirectional import BidirectionalEncoder

PTR = torch.tensor([0, 5, 6, 13])


def make(rotary, layers=2):
    torch.manual_seed(0)
    return BidirectionalEncoder(12, 3, layers, rotary).double().eval()


@pytest.mark.parametrize("rotary", [False, True])
def test_sets_side_by_side_are_read_as_alone(rotary):
    model, h = make(rotary), torch.randn(13, 12, dtype=torch.float64)
    whole = model(h, PTR)
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(model(h[a:b], torch.tensor([0, b - a])), whole[a:b])


def test_without_positions_the_order_moves_the_outputs_along():
    h, order = torch.randn(7, 12, dtype=torch.float64), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    ptr = torch.tensor([0, 7])
    torch.testing.assert_close(make(False)(h[order], ptr), make(False)(h, ptr)[order])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(make(True)(h[order], ptr), make(True)(h, ptr)[order])


def test_with_positions_distances_count_and_places_do_not():
    model, h = make(True), torch.randn(4, 12, dtype=torch.float64)
    block = model.blocks[0]
    there = torch.zeros(1, 9, dtype=torch.bool)
    outs = []
    for start in (0, 5):
        padded = torch.zeros(1, 9, 12, dtype=torch.float64)
        padded[0, start : start + 4] = h
        mask = there.clone()
        mask[0, start : start + 4] = True
        outs.append(block(padded, mask)[0, start : start + 4])
    torch.testing.assert_close(outs[0], outs[1])


def test_without_rotation_it_equals_the_layer_of_torch():
    model = make(False, layers=1)
    block = model.blocks[0]
    reference = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        reference.in_proj_weight.copy_(block.project.weight)
        reference.in_proj_bias.copy_(block.project.bias)
        reference.out_proj.load_state_dict(block.output.state_dict())
    h = torch.randn(7, 12, dtype=torch.float64)
    x = block.norm_attention(h)[None]
    after = h + reference(x, x, x)[0][0]
    expected = model.norm(after + block.feed(block.norm_feed(after)))
    torch.testing.assert_close(model(h, torch.tensor([0, 7])), expected)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"even number \(got 9, 3\)"):
        BidirectionalEncoder(9, 3, 1)
    BidirectionalEncoder(9, 3, 1, rotary=False)

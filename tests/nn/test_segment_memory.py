import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.nn.segment_memory import SegmentMemory

WIDTH, HEADS, SLOTS = 14, 2, 3
PTR = torch.tensor([0, 5, 5, 16, 23])


def memory(gated=True):
    return SegmentMemory(WIDTH, HEADS, SLOTS, gated).double()


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(23, WIDTH, generator=generator, dtype=torch.float64)
    return h, torch.randn(4, SLOTS, WIDTH, generator=generator, dtype=torch.float64)


def test_writing_equals_the_formula():
    module, (h, slots) = memory(), inputs()
    found, kept = module.write(slots, h, PTR)
    x = module.write_norm(h[5:16])
    key = torch.nn.functional.normalize(module.write_key(x).view(11, HEADS, -1), dim=-1) * WIDTH**0.25
    value = module.write_value(x).view(11, HEADS, -1)
    for slot in range(SLOTS):
        heads = [
            (key[:, head] @ module.seed[slot, head]).softmax(0) @ value[:, head] for head in range(HEADS)
        ]
        pooled = torch.cat(heads)
        gate = module.gate(torch.cat([slots[2, slot], pooled])).sigmoid()
        torch.testing.assert_close(kept[2, slot], gate[0])
        torch.testing.assert_close(found[2, slot], gate * slots[2, slot] + (1 - gate) * pooled)


def test_reading_equals_the_formula_and_weights_sum_to_one():
    module, (h, slots) = memory(), inputs()
    found, weights = module.read_with_weights(slots, h, PTR)
    torch.testing.assert_close(weights.sum(1), torch.ones(23, dtype=torch.float64))
    normed = module.slot_norm(slots[2])
    query = module.read_query(module.read_norm(h[7])).view(HEADS, -1)
    key, value = (part(normed).view(SLOTS, HEADS, -1) for part in (module.read_key, module.read_value))
    heads = []
    for head in range(HEADS):
        scores = key[:, head] @ query[head] / (WIDTH / HEADS) ** 0.5
        heads.append(scores.softmax(0) @ value[:, head])
    torch.testing.assert_close(found[7], module.read_output(torch.cat(heads)))


def test_what_a_slot_pooled_is_told():
    module, (h, slots) = memory(), inputs()
    found, kept, weights = module.write_with_weights(slots, h, PTR)
    for told, plain in zip((found, kept), module.write(slots, h, PTR), strict=True):
        assert torch.equal(told, plain)
    key = torch.nn.functional.normalize(
        module.write_key(module.write_norm(h[5:16])).view(11, HEADS, -1), dim=-1
    )
    expected = torch.einsum("thc,mhc->tmh", key * WIDTH**0.25, module.seed).softmax(0).mean(-1)
    torch.testing.assert_close(weights[5:16], expected)


def test_an_empty_set_keeps_its_memory():
    module, (h, slots) = memory(), inputs()
    found, kept = module.write(slots, h, PTR)
    assert torch.equal(found[1], slots[1])
    assert torch.equal(kept[1], torch.ones(SLOTS, dtype=torch.float64))
    assert ((kept > 0) & (kept < 1))[[0, 2, 3]].all()


def test_without_gates_what_was_there_is_gone():
    module, (h, slots) = memory(gated=False), inputs()
    torch.testing.assert_close(
        module.write(slots, h, PTR)[0][2], module.write(torch.zeros_like(slots), h, PTR)[0][2]
    )


def test_sets_never_meet():
    module, (h, slots) = memory(), inputs()
    h, slots = h.requires_grad_(), slots.requires_grad_()
    written, _ = module.write(slots, h, PTR)
    read = module.read(slots, h, PTR)
    of_tokens, of_slots = torch.autograd.grad(written[2].sum() + read[5:16].sum(), (h, slots))
    assert of_tokens[5:16].abs().sum() > 0
    assert of_tokens[:5].abs().sum() == of_tokens[16:].abs().sum() == 0
    assert of_slots[2].abs().sum() > 0
    assert of_slots[[0, 1, 3]].abs().sum() == 0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_tokens_does_not_matter(seed):
    module, (h, slots) = memory(), inputs(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat(
        [a + torch.randperm(b - a, generator=generator) for a, b in ((0, 5), (5, 16), (16, 23))]
    )
    torch.testing.assert_close(module.write(slots, h[order], PTR), module.write(slots, h, PTR))
    torch.testing.assert_close(module.read(slots, h[order], PTR), module.read(slots, h, PTR)[order])


def test_slots_start_alike_in_every_set():
    module = memory()
    assert module.start(5).shape == (5, SLOTS, WIDTH)
    assert torch.equal(module.start(5)[3], module.first)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="heads must divide width"):
        SegmentMemory(14, 3)
    with pytest.raises(ValueError, match=r"slots must be at least 1 \(got 0\)"):
        SegmentMemory(14, 2, 0)

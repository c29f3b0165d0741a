import pytest
import torch

from structformer.models.language import ReSSFormerLMConfig
from structformer.models.language_block import LanguageBlock, still_hearing
from structformer.models.language_state import Past, appended, window_graph

WIDTH = 8
PTR = torch.tensor([0, 6, 7])
MIXERS = ("attention", "rsa", "both")


def block(**changes) -> LanguageBlock:
    sizes = {
        "width": WIDTH,
        "heads": 2,
        "neighbors": 3,
        "affinity": 5,
        "window": 2,
        "experts": 1,
        "dropout": 0.0,
    }
    return LanguageBlock(ReSSFormerLMConfig(**sizes | changes)).double().eval()


def states(tokens: int = 7) -> torch.Tensor:
    return torch.randn(tokens, WIDTH, dtype=torch.float64)


def test_a_block_has_the_parts_that_its_mixer_needs():
    def parts(block):
        return {name for name, part in block.named_children() if part is not None}

    attends, recurs = {"structure", "attention", "successor"}, {"recurrence"}
    assert attends <= parts(block())
    assert not attends & parts(block(mixer="rsa"))
    assert attends | recurs <= parts(block(mixer="both"))
    assert "successor" not in parts(block(successors=False))
    assert "shift" in parts(block())
    assert not {"convolution", "shift"} & parts(block(convolution=0))
    assert "shift" not in parts(block(token_shift=False))


@pytest.mark.parametrize("mixer", MIXERS)
def test_nothing_that_comes_later_is_heard(mixer: str):
    layer, h = block(mixer=mixer), states()
    window = window_graph(PTR, 2, causal=True)
    before = layer.mix(h, PTR, window, None, Past(), None)[0]
    other = h.clone()
    other[5:] += 1
    after = layer.mix(other, PTR, window, None, Past(), None)[0]
    torch.testing.assert_close(after[:5], before[:5])
    assert not torch.allclose(after[5:], before[5:])


@pytest.mark.parametrize("mixer", MIXERS)
def test_one_token_more_is_what_the_whole_text_says_at_its_end(mixer: str):
    layer, h, last = block(mixer=mixer), states(), states(2)
    whole_ptr = PTR + torch.arange(3)
    whole = appended(h, PTR, last)
    ends = whole_ptr[1:] - 1
    said = layer.mix(whole, whole_ptr, window_graph(whole_ptr, 2, True), None, Past(), None)[0][ends]
    _, _, past = layer.mix(h, PTR, window_graph(PTR, 2, True), None, Past(), None)
    new, _, kept = layer.mix(last, torch.arange(3), None, None, past, PTR)
    torch.testing.assert_close(new, said)
    if mixer != "rsa":
        assert len(kept.heard) == len(whole)


def test_experts_read_a_token_and_the_one_before_it():
    layer, h = block(), states()
    said, _, line = layer.reflect(h, PTR, Past())
    x = layer.norm_experts(h)
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    before[PTR[1:-1]] = 0
    mixed = layer.shift.weight[0] * x + layer.shift.weight[1] * before
    torch.testing.assert_close(said, layer.asked(h, mixed)[0])
    more = states(2)
    whole = appended(h, PTR, more)
    ends = PTR[1:] + torch.arange(2)
    torch.testing.assert_close(
        layer.reflect(more, torch.arange(3), Past(shift=line))[0],
        layer.reflect(whole, PTR + torch.arange(3), Past())[0][ends],
    )


def test_along_edges_that_are_there_nothing_is_searched():
    layer, h = block(), states()
    topology = window_graph(PTR, 1, causal=True)
    _, graph, _ = layer.mix(h, PTR, window_graph(PTR, 2, True), topology, Past(), None)
    assert torch.equal(graph.col, topology.col)


def test_texts_that_end_are_not_heard_any_more():
    heard = states(4)
    assert torch.equal(
        still_hearing(Past(heard=heard), torch.tensor([True, False, False, True])).heard, heard[[0, 3]]
    )
    assert still_hearing(Past(), torch.zeros(0, dtype=torch.bool)) == Past()

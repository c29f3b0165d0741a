import pytest
import torch
from structformer.tasks.shuffled_text_arms import build

PTR = torch.tensor([0, 5, 5, 9])
HIDDEN = 11
KINDS = {
    "masked text encoder": {"width": 8, "window": 1, "steps": 1, "neighbors": 2},
    "directed window": {"width": 8, "window": 2, "steps": 1, "neighbors": 2, "experts": 1},
    "transformer": {"width": 8, "layers": 1, "rotary": True},
}


def arm(kind: str) -> torch.nn.Module:
    return build({"kind": kind, **KINDS[kind]}, HIDDEN, heads=2, dropout=0.0).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_words_asked_for_are_scored_and_the_hidden_word_is_no_answer(kind: str):
    ids = torch.tensor([1, 2, HIDDEN, 4, 5, 6, HIDDEN, 8, 9])
    said = arm(kind)(ids, PTR, ids == HIDDEN)
    assert said.logits.shape == (2, HIDDEN)
    assert said.loss.shape == ()
    nothing = arm(kind)(ids, PTR, torch.zeros(9, dtype=torch.bool))
    assert nothing.logits.shape == (0, HIDDEN)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_do_not_hear_each_other(kind: str):
    model, ids = arm(kind), torch.tensor([1, 2, HIDDEN, 4, 5, 6, HIDDEN, 8, 9])
    before = model(ids, PTR, ids == HIDDEN).logits
    other = ids.clone()
    other[7:] = 3
    after = model(other, PTR, ids == HIDDEN).logits
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_a_kind_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"kind must be one of masked text encoder, .* \(got 'oracle'\)"):
        build({"kind": "oracle"}, HIDDEN, heads=2, dropout=0.0)

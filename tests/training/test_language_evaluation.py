import math

import pytest
import torch
from torch.nn import functional as F

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig
from structformer.training.language_evaluation import LanguageScore, evaluate_language

CONFIG = {"width": 12, "heads": 2, "neighbors": 3, "affinity": 5, "slots": 3, "vocabulary": 29, "segment": 7}


def make(**changes):
    torch.manual_seed(0)
    return ReSSFormerLM(ReSSFormerLMConfig(**CONFIG | changes)).double()


def documents(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(29, (size,), generator=generator) for size in sizes]


@pytest.mark.parametrize("mixer", ["attention", "rsa", "both"])
def test_each_token_is_foretold_as_by_one_who_reads_on(mixer):
    """Every token on its own, from the state that all before it left behind."""
    model, (ids,) = make(mixer=mixer), documents(19)
    model.eval()
    nats, state = 0.0, None
    for place in range(18):
        if place and place % 7 == 0:
            state = model.next_segment(state)
        output = model(ids[place : place + 1], state=state)
        nats += float(F.cross_entropy(output.logits.detach(), ids[place + 1 : place + 2]))
        state = output.state
    score = evaluate_language(model.train(), [ids], 31)
    assert score.nats == pytest.approx(nats, rel=1e-9)
    assert (score.tokens, score.num_bytes) == (18, 31)
    assert model.training, "the model is left in the mode it was in"


def test_memory_is_carried_within_a_document_and_not_between_two():
    model, texts = make(), documents(19, 23)
    scores = [evaluate_language(model, [text], 1).nats for text in texts]
    together = evaluate_language(model, texts, 1)
    assert together.nats == pytest.approx(sum(scores), rel=1e-12)
    assert together.tokens == 40
    joined = evaluate_language(model, [torch.cat(texts)], 1)
    assert joined.nats != pytest.approx(sum(scores), rel=1e-3)
    assert evaluate_language(model, texts, 1) == together


def test_measures_of_a_uniform_guess():
    score = LanguageScore(31 * math.log(256), tokens=31, num_bytes=31)
    assert score.bits_per_byte == pytest.approx(8)
    assert score.perplexity == pytest.approx(256)
    pairs = LanguageScore(13 * math.log(512), tokens=13, num_bytes=39)
    assert (pairs.bits_per_byte, pairs.perplexity) == (pytest.approx(3), pytest.approx(512))
    assert LanguageScore(1e6, 1, 1).perplexity == math.inf


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"documents must have at least 2 tokens each \(got no document\)"):
        evaluate_language(make(), [], 1)
    with pytest.raises(ValueError, match=r"documents must have at least 2 tokens each \(got one of 1\)"):
        evaluate_language(make(), documents(7, 1), 1)
    with pytest.raises(ValueError, match=r"num_bytes must be at least 1 \(got 0\)"):
        evaluate_language(make(), documents(7), 0)
    with pytest.raises(ValueError, match="model must be causal"):
        evaluate_language(make(causal=False, convolution=0), documents(7), 7)

from itertools import pairwise

import pytest
import torch

from structformer.models.language import ReSSFormerLMConfig
from structformer.models.masked_text import MaskedTextEncoder, Masking

VOCABULARY = 29
PTR = torch.tensor([0, 5, 16, 23])


def config(**changes):
    options = {
        "width": 12,
        "heads": 2,
        "steps": 2,
        "neighbors": 3,
        "affinity": 5,
        "window": 2,
        "slots": 3,
        "dropout": 0.0,
        "experts": 3,
        "vocabulary": VOCABULARY,
        "causal": False,
        "convolution": 0,
    }
    return ReSSFormerLMConfig(**options | changes)


def make(masking=None, **changes):
    torch.manual_seed(0)
    return MaskedTextEncoder(config(**changes), masking).double().eval()


def text(tokens=23, seed=0):
    return torch.randint(VOCABULARY, (tokens,), generator=torch.Generator().manual_seed(seed))


def test_a_packed_batch_equals_one_text_at_a_time():
    model, ids = make(), text()
    whole = model(ids, PTR)
    for number, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone = model(ids[a:b])
        torch.testing.assert_close(alone.logits, whole.logits[a:b], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(alone.texts[0], whole.texts[number], rtol=1e-9, atol=1e-9)


def test_nothing_crosses_texts():
    model, ids = make(), text()
    embedded = model.model.embedding(ids).detach().requires_grad_()
    model.model.embedding.forward = lambda _: embedded
    found = model(ids, PTR)
    (grad,) = torch.autograd.grad(found.logits[9].square().sum() + found.texts[1].square().sum(), embedded)
    assert (grad[5:16].abs().sum(1) > 0).all()
    assert grad[:5].abs().sum() == grad[16:].abs().sum() == 0


def test_without_a_window_the_order_of_the_tokens_changes_no_vector(shuffled):
    model, ids, order = make(window=0), text(), shuffled(PTR, 3)
    found, expected = model(ids[order], PTR), model(ids, PTR)
    torch.testing.assert_close(found.texts, expected.texts, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.logits, expected.logits[order], rtol=1e-9, atol=1e-9)
    ordered = make()
    assert not torch.allclose(ordered(ids[order], PTR).texts, ordered(ids, PTR).texts)


def test_the_shares_of_tokens_and_what_is_shown(rng):
    ids = text(100_003)
    shown, chosen = Masking().draw(ids, VOCABULARY, rng)
    assert torch.equal(shown[~chosen], ids[~chosen])
    assert chosen.double().mean() == pytest.approx(0.15, abs=0.005)
    hidden, same = shown[chosen] == VOCABULARY, shown[chosen] == ids[chosen]
    assert hidden.double().mean() == pytest.approx(0.8, abs=0.02)
    # A drawn token may be the one that was there.
    assert same.double().mean() == pytest.approx(0.1 + 0.1 / VOCABULARY, abs=0.02)
    assert len(shown[chosen].unique()) == VOCABULARY + 1


def test_a_plain_mask_token_shows_nothing_of_what_is_chosen(rng):
    ids = text(1_009)
    shown, chosen = Masking(share=0.5, hidden=1.0, swapped=0.0).draw(ids, VOCABULARY, rng)
    assert (shown[chosen] == VOCABULARY).all()


def test_the_loss_is_that_of_the_chosen_tokens_alone(rng):
    model, ids = make(Masking(share=0.3)), text()
    found = model.loss(ids, PTR, generator=rng.manual_seed(7))
    shown, chosen = model.masking.draw(ids, VOCABULARY, rng.manual_seed(7))
    assert 0 < chosen.sum() < len(ids)
    out = model(shown, PTR)
    likelihood = out.logits.log_softmax(-1)[torch.arange(23), ids]
    torch.testing.assert_close(found, -likelihood[chosen].mean() + out.read.loss)
    assert out.read.loss > 0


def test_where_none_is_chosen_there_is_nothing_to_say(rng):
    model = make(Masking(share=1e-9), experts=1)
    assert model.loss(text(), PTR, generator=rng) == 0


def test_every_parameter_learns(rng):
    model = make(Masking(share=0.5)).train()
    torch.nn.init.normal_(model.model.unit.reinjection.weight, std=0.1)
    loss = model.loss(text(), PTR, generator=rng)
    names, weights = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    silent = [name for name, grad in zip(names, grads, strict=True) if grad is None or not grad.abs().sum()]
    assert silent == []


def test_it_learns_which_words_go_together(rng):
    """Each text has one word, again and again: what is hidden is what stands around it."""
    torch.manual_seed(0)
    model = MaskedTextEncoder(config(width=16, heads=4, depth=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    ptr = torch.arange(0, 17 * 5 + 1, 5)
    for _ in range(60):
        ids = torch.randint(VOCABULARY, (17,), generator=rng).repeat_interleave(5)
        loss = model.loss(ids, ptr, generator=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    ids = torch.arange(17).repeat_interleave(5)
    hidden = ids.clone()
    hidden[2::5] = VOCABULARY
    assert (model(hidden, ptr).logits[2::5].argmax(1) == torch.arange(17)).double().mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, r"share must be above 0 and at most 1 \(got 0.0\)"),
        ({"share": 1.1}, r"share must be above 0 and at most 1 \(got 1.1\)"),
        ({"hidden": -0.1}, r"hidden must be in \[0, 1\] \(got -0.1\)"),
        ({"swapped": 1.1}, r"swapped must be in \[0, 1\] \(got 1.1\)"),
        ({"swapped": 0.3}, r"add up to at most 1 \(got 0.8 and 0.3\)"),
    ],
)
def test_bad_maskings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Masking(**arguments)


def test_bad_arguments_are_named(rng):
    with pytest.raises(ValueError, match=r"config must have causal=False \(got causal=True\)"):
        MaskedTextEncoder(config(causal=True))
    with pytest.raises(ValueError, match=r"ids must lie in 0 to 28 \(got 0 to 29\)"):
        make().loss(torch.tensor([0, 29]), generator=rng)
    with pytest.raises(ValueError, match=r"ids must lie in 0 to 29 \(got 0 to 30\)"):
        make()(torch.tensor([0, 30]))

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig
from structformer.models.language_state import appended, window_graph

VOCABULARY, WIDTH = 29, 12
CONFIG = ReSSFormerLMConfig(
    width=WIDTH,
    heads=2,
    steps=2,
    depth=2,
    neighbors=3,
    affinity=7,
    window=2,
    slots=3,
    dropout=0.0,
    experts=3,
    vocabulary=VOCABULARY,
    segment=11,
)
PTR = torch.tensor([0, 5, 16, 23])
MASKED = {"causal": False, "convolution": 0}
MIXERS = {"attention": {}, "rsa": {"mixer": "rsa"}, "both": {"mixer": "both"}, "lsh": {"search": "lsh"}}
VARIANTS = MIXERS | {
    "plain": {"slots": 0, "cache": 0, "experts": 1, "convolution": 0, "window": 0},
    "sparse": {"normalizer": "entmax15", "top": 2},
    "act": {"halting": "act", "mixer": "both"},
    "convergence": {"halting": "convergence", "threshold": 0.6},
    "untied": {"tied": False},
    "no successors": {"successors": False},
    "deep sizes": {"mixer": "both", "deep_heads": 3, "deep_channels": 5},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def make(changes=None, seed=0):
    torch.manual_seed(seed)
    return ReSSFormerLM(replace(CONFIG, **(changes or {}))).double().eval()


def text(tokens=23, seed=0):
    return torch.randint(VOCABULARY, (tokens,), generator=torch.Generator().manual_seed(seed))


@variants
def test_a_packed_batch_equals_one_text_at_a_time(changes):
    model, ids = make(changes), text()
    whole = model(ids, PTR).logits
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(model(ids[a:b]).logits, whole[a:b], rtol=1e-9, atol=1e-9)


@variants
def test_the_future_is_never_seen(changes):
    model, ids = make(changes), text()
    embedded = model.embedding(ids).detach().requires_grad_()
    model.embedding.forward = lambda _: embedded
    out = model(ids, PTR)
    for token in (0, 5, 9, 15):
        (grad,) = torch.autograd.grad(out.logits[token].square().sum(), embedded, retain_graph=True)
        begin = int(PTR[token >= PTR].max())
        assert grad[token].abs().sum() > 0
        assert grad[:begin].abs().sum() == grad[token + 1 :].abs().sum() == 0


@variants
def test_writing_token_by_token_equals_reading_at_once(changes):
    model, ids = make(changes), text()
    whole = model(ids, PTR)
    part = model(torch.cat([ids[a : b - 3] for a, b in pairwise(PTR.tolist())]), torch.tensor([0, 2, 10, 14]))
    for back in (3, 2, 1):
        part = model(ids[PTR[1:] - back], state=part.state)
        torch.testing.assert_close(part.logits, whole.logits[PTR[1:] - back], rtol=1e-9, atol=1e-9)
    assert part.state.read.tolist() == [5, 11, 7]
    left, right = (model.next_segment(out.state) for out in (part, whole))
    if left.slots is not None:
        torch.testing.assert_close(left.slots, right.slots, rtol=1e-9, atol=1e-9)
    later = text(7, seed=1), torch.tensor([0, 2, 3, 7])
    found, expected = (model(*later, state=state).logits for state in (left, right))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@variants
def test_a_segment_ends_for_some_texts_alone(changes):
    model, ids = make(changes), text()
    state = model.next_segment(model(ids, PTR).state, torch.tensor([True, False, True]))
    assert state.ptr.tolist() == [0, 0, 11, 11]
    new = text(6, seed=1).view(2, 3)
    first = model(new[0], state=state)
    second = model(new[1], state=first.state)
    for number, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone = model(ids[a:b]).state
        alone = alone if number == 1 else model.next_segment(alone)
        for found, row in ((first, new[0]), (second, new[1])):
            expected = model(row[number : number + 1], state=alone)
            torch.testing.assert_close(found.logits[number], expected.logits[0], rtol=1e-9, atol=1e-9)
            alone = expected.state
    assert second.state.read.tolist() == [7, 13, 9]


@variants
def test_a_forgotten_text_begins_anew_and_the_others_go_on(changes):
    model, ids = make(changes), text()
    state = model.next_segment(model(ids, PTR).state)
    later = text(23, seed=1), torch.tensor([0, 7, 16, 23])
    found = model(*later, state=model.forget(state, torch.tensor([False, True, False])))
    kept, anew = model(*later, state=state), model(*later)
    torch.testing.assert_close(found.logits[7:16], anew.logits[7:16], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.logits[:7], kept.logits[:7], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.logits[16:], kept.logits[16:], rtol=1e-9, atol=1e-9)
    if model.config.slots or model.config.recurs:
        assert not torch.allclose(kept.logits[7:16], anew.logits[7:16])
    assert found.state.read.tolist() == [12, 9, 14]


@pytest.mark.parametrize(
    "changes", [{}, {"mixer": "rsa"}, {"mixer": "both"}], ids=["attention", "rsa", "both"]
)
def test_what_was_read_in_an_earlier_segment_is_remembered(changes):
    model = make(changes)
    first, second = model(text(11)), model(text(11, seed=1))
    ids = text(5, seed=2)
    heard = [model(ids, state=model.next_segment(out.state)).logits for out in (first, second)]
    assert not torch.allclose(*heard)
    assert not torch.allclose(heard[0], model(ids).logits)


def test_a_recurrent_model_without_slots_reads_segments_as_if_they_were_one():
    model, ids = make({"mixer": "rsa", "slots": 0}), text(23)
    state = model.next_segment(model(ids[:11]).state)
    torch.testing.assert_close(
        model(ids[11:], state=state).logits, model(ids).logits[11:], rtol=1e-9, atol=1e-9
    )


def test_gradients_go_back_into_earlier_segments_unless_detached():
    model = make()
    first = model(text(11))
    for state, wanted in ((first.state, True), (first.state.detach(), False)):
        later = model(text(5, seed=1), state=model.next_segment(state))
        (grad,) = torch.autograd.grad(
            later.logits.square().sum(), first.thought.tokens, allow_unused=True, retain_graph=True
        )
        assert (grad is not None and bool(grad.abs().sum() > 0)) == wanted


def test_a_recurrent_state_does_not_grow_between_segments():
    model = make({"mixer": "rsa"})
    sizes = []
    state = None
    for seed in range(3):
        state = model.next_segment(model(text(11, seed), state=state).state)
        sizes.append(state.numbers)
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_masked_model_hears_both_sides_and_no_order():
    model, ids = make({**MASKED, "window": 0}), text()
    embedded = model.embedding(ids).detach().requires_grad_()
    order = torch.cat([torch.arange(5), torch.arange(15, 4, -1), torch.arange(16, 23)])
    found = model(ids[order], PTR).logits
    torch.testing.assert_close(found, model(ids, PTR).logits[order], rtol=1e-9, atol=1e-9)
    model.embedding.forward = lambda _: embedded
    (grad,) = torch.autograd.grad(model(ids, PTR).logits[9].square().sum(), embedded)
    assert grad[10:16].abs().sum() > 0
    assert grad[:5].abs().sum() == grad[16:].abs().sum() == 0


@pytest.mark.parametrize("changes", MIXERS.values(), ids=MIXERS)
def test_every_parameter_learns(changes):
    model = make({**changes, "halting": "act"}).train()
    torch.nn.init.normal_(model.unit.reinjection.weight, std=0.1)
    first = model(text(23), PTR)
    second = model(text(23, seed=1), PTR, state=model.next_segment(first.state))
    loss = second.logits.square().sum() + second.loss + second.thought.ponder.sum()
    names, weights = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    silent = [name for name, grad in zip(names, grads, strict=True) if grad is None or not grad.abs().sum()]
    assert silent == []


@pytest.mark.parametrize("changes", MIXERS.values(), ids=MIXERS)
def test_it_overfits_thirty_two_sequences(changes):
    torch.manual_seed(0)
    model = ReSSFormerLM(replace(CONFIG, width=32, heads=4, depth=1, neighbors=8, segment=64, **changes))
    ids = torch.randint(VOCABULARY, (32, 13))
    ids[:, 0] = torch.arange(32) % VOCABULARY
    ids[VOCABULARY:, 1] = 0
    ids[: 32 - VOCABULARY, 1] = 1
    ptr = torch.arange(0, 32 * 12 + 1, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 200)
        out = model(ids[:, :-1].flatten(), ptr)
        loss = torch.nn.functional.cross_entropy(out.logits, ids[:, 1:].flatten())
        optimizer.zero_grad()
        (loss + out.loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.03


def test_a_windows_edges_by_hand():
    graph = window_graph(torch.tensor([0, 3, 3, 5]), 2, causal=True)
    edges = list(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
    assert edges == [(1, 0), (2, 0), (2, 1), (4, 3)]
    both = window_graph(torch.tensor([0, 3, 3, 5]), 1, causal=False)
    edges = list(zip(both.row.tolist(), both.col.tolist(), strict=True))
    assert edges == [(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (4, 3)]
    assert both.given.all()
    assert window_graph(torch.tensor([0, 3]), 0, causal=True).num_edges == 0


def test_rows_are_appended_to_their_sets():
    before, new = torch.arange(5.0)[:, None], torch.tensor([[10.0], [11.0], [12.0]])
    found = appended(before, torch.tensor([0, 3, 3, 5]), new)
    assert found[:, 0].tolist() == [0, 1, 2, 10, 11, 3, 4, 12]


def test_bad_arguments_are_named():
    model, ids = make(), text()
    with pytest.raises(ValueError, match=r"ids must lie in 0 to 28 \(got 0 to 29\)"):
        model(torch.tensor([0, 29]))
    state = model(ids, PTR).state
    with pytest.raises(ValueError, match=r"3 texts goes on by 1 token \(got 2"):
        model(ids[:2], state=state)
    with pytest.raises(ValueError, match="ptr must bound the state's 3 texts"):
        model(ids[:4], torch.tensor([0, 4]), state=model.next_segment(state))
    with pytest.raises(ValueError, match="got one with 23 tokens of a segment"):
        model.forget(state, torch.ones(3).bool())
    with pytest.raises(ValueError, match="set_dropout must be 0"):
        replace(CONFIG, set_dropout=0.1)
    with pytest.raises(ValueError, match="mixer must be one of attention, rsa, both"):
        ReSSFormerLMConfig(mixer="magic")
    with pytest.raises(ValueError, match='mixer must be "attention" and convolution 0'):
        ReSSFormerLMConfig(causal=False)
    for name, least in (("vocabulary", 1), ("segment", 1), ("window", 0), ("convolution", 0)):
        with pytest.raises(ValueError, match=rf"{name} must be at least {least} \(got {least - 1}\)"):
            ReSSFormerLMConfig(**{name: least - 1})

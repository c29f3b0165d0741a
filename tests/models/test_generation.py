from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from structformer.models.generation import generate, go_on, pick, read
from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig

VOCABULARY, SEGMENT = 29, 5
CONFIG = ReSSFormerLMConfig(
    width=12,
    heads=2,
    steps=2,
    neighbors=2,
    affinity=5,
    window=1,
    slots=3,
    dropout=0.1,
    experts=3,
    vocabulary=VOCABULARY,
    segment=SEGMENT,
    tied=False,
)
MIXERS = {"attention": {}, "rsa": {"mixer": "rsa"}, "both": {"mixer": "both"}}
VARIANTS = MIXERS | {"plain": {"slots": 0, "convolution": 0}, "act": {"halting": "act", "depth": 2}}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
# Shorter than a segment, of whole segments, of several and a part; in no order of length.
SIZES = (3, 10, 1)


def make(changes=None):
    torch.manual_seed(0)
    return ReSSFormerLM(replace(CONFIG, **(changes or {}))).double().eval()


def prompts(seed=0, sizes=SIZES):
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    return torch.randint(VOCABULARY, (int(ptr[-1]),), generator=torch.Generator().manual_seed(seed)), ptr


def scores_anew(model, ids):
    """Everything is read from the beginning, segment by segment."""
    state = None
    for part in ids.split(SEGMENT):
        output = model(part, state=None if state is None else model.next_segment(state))
        state = output.state
    return output.logits[-1]


@torch.no_grad()
def written_anew(model, ids, tokens):
    for _ in range(tokens):
        ids = torch.cat([ids, scores_anew(model, ids).argmax()[None]])
    return ids[-tokens:]


def drawn(*arguments, **options):
    return torch.stack(list(generate(*arguments, **options)), dim=1)


def test_greedy_texts_equal_reading_everything_anew_for_each_token():
    model, (ids, ptr) = make({"mixer": "both", "tied": False}), prompts()
    with torch.no_grad():
        model.embedding.weight.mul_(4.0)  # else an untrained model may say the same of all tokens
    found = drawn(model, ids, ptr, tokens=7, temperature=0.0)
    for row, (a, b) in zip(found, pairwise(ptr.tolist()), strict=True):
        assert row.tolist() == written_anew(model, ids[a:b], 7).tolist()
    assert len(found.unique()) > 1


@variants
def test_scores_equal_reading_everything_anew_over_the_ends_of_segments(changes):
    model, (ids, ptr) = make(changes), prompts()
    texts = [ids[a:b] for a, b in pairwise(ptr.tolist())]
    scores, state = read(model, ids, ptr)
    for seed in range(6):
        expected = torch.stack([scores_anew(model, text) for text in texts])
        torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-9)
        assert state.read.tolist() == [len(text) for text in texts]
        new = torch.randint(VOCABULARY, (len(texts),), generator=torch.Generator().manual_seed(seed))
        texts = [torch.cat([text, token[None]]) for text, token in zip(texts, new, strict=True)]
        scores, state = go_on(model, state, new)


def test_a_text_does_not_depend_on_its_company():
    model, (ids, ptr) = make({"mixer": "both"}), prompts()
    options = {"tokens": 11, "temperature": 1.3, "top_p": 0.9}
    together = drawn(model, ids, ptr, seed=3, **options)
    for text, (a, b) in enumerate(pairwise(ptr.tolist())):
        alone = drawn(model, ids[a:b], seed=3 + text, **options)
        assert alone[0].tolist() == together[text].tolist()
    assert len({tuple(row) for row in together.tolist()}) == len(SIZES)


def test_a_seed_decides_and_the_global_stream_is_left_alone():
    model, (ids, ptr) = make(), prompts()
    before = torch.get_rng_state()
    first, again, other = (drawn(model, ids, ptr, tokens=11, seed=seed) for seed in (1, 1, 7))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.stack(list(model.generate(ids, ptr, tokens=11, seed=1)), dim=1), first)


@pytest.mark.parametrize("changes", MIXERS.values(), ids=MIXERS)
def test_what_is_kept_is_bounded_by_a_segment(changes):
    model, (ids, ptr) = make(changes), prompts()
    scores, state = read(model, ids, ptr)
    kept, constant = [], set()
    for _ in range(4 * SEGMENT):
        scores, state = go_on(model, state, scores.argmax(-1))
        kept.append(state.numbers)
        constant.add(state.numbers - state.finals.numel())
        assert int(state.ptr.diff().max()) <= SEGMENT
    # The texts are at different places of their segments, and come back to the same ones.
    assert kept[:SEGMENT] * 4 == kept
    # Beside what the segment memory will be written of, a recurrent model keeps always as much.
    assert (len(constant) == 1) == (changes.get("mixer") == "rsa")


def test_tokens_come_one_by_one(monkeypatch):
    model, (ids, ptr) = make(), prompts()
    calls = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    stream = generate(model, ids, ptr, tokens=3)
    assert not calls
    assert next(stream).shape == (len(SIZES),)
    assert len(calls) == 2, "the longest prompt has two segments"
    assert len(list(stream)) == 2
    assert len(calls) == 4, "after the last token nothing is read"
    assert torch.is_grad_enabled()


def test_a_text_ends_with_its_stop_token():
    model, (ids, ptr) = make(), prompts()
    free = drawn(model, ids, ptr, tokens=23, seed=5)
    stop = int(free[0, 4])
    found = drawn(model, ids, ptr, tokens=23, seed=5, stop=stop)
    for row, whole in zip(found.tolist(), free.tolist(), strict=True):
        end = whole.index(stop) + 1 if stop in whole else len(whole)
        assert row[: min(end, len(row))] == whole[: min(end, len(row))]
        assert set(row[end:]) <= {stop}
    alone = drawn(model, ids[:3], tokens=23, seed=5, stop=stop)[0].tolist()
    assert alone == free[0].tolist()[: free[0].tolist().index(stop) + 1]


def row(*shares):
    return torch.tensor(shares, dtype=torch.float64)[None].log()


def picked(scores, top_p=1.0, temperature=1.0, draws=1_009):
    even = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    found = pick(scores.expand(draws, -1), temperature, top_p, even)
    return (found.bincount(minlength=scores.shape[1]) / draws).tolist()


def test_draws_have_the_probabilities_of_the_scores():
    assert picked(row(0.25, 0.5, 0.25)) == pytest.approx([0.25, 0.5, 0.25], abs=2e-3)
    halved = [0.0625 / 0.375, 0.25 / 0.375, 0.0625 / 0.375]
    assert picked(row(0.25, 0.5, 0.25), temperature=0.5) == pytest.approx(halved, abs=2e-3)


def test_the_smallest_set_of_enough_mass_is_drawn_from():
    shares = row(0.125, 0.25, 0.5, 0.125)
    assert picked(shares, 0.5 - 1e-9) == [0, 0, 1, 0]
    assert picked(shares, 0.5 + 1e-9) == pytest.approx([0, 1 / 3, 2 / 3, 0], abs=2e-3)
    assert picked(shares, 0.75 - 1e-9) == pytest.approx([0, 1 / 3, 2 / 3, 0], abs=2e-3)
    # Of two equally probable ones the first is taken.
    assert picked(shares, 0.75 + 1e-9) == pytest.approx([1 / 7, 2 / 7, 4 / 7, 0], abs=2e-3)
    assert picked(shares, 1e-9) == [0, 0, 1, 0]


def test_no_temperature_takes_the_most_probable_token():
    assert picked(torch.tensor([[1.0, 3.0, 3.0, 2.0]]), temperature=0.0) == [0, 1, 0, 0]
    assert picked(torch.tensor([[1.0, 3.0, 3.5, 2.0]]), temperature=1e-300) == [0, 0, 1, 0]
    last = pick(row(0.25, 0.75), 1.0, 1.0, torch.tensor([1 - 2**-53], dtype=torch.float64))
    assert last.tolist() == [0], "the largest draw takes the least probable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, r"tokens must be at least 1 \(got 0\)"),
        ({"temperature": -0.1}, r"temperature must be at least 0 \(got -0.1\)"),
        ({"temperature": float("nan")}, r"temperature must be at least 0 \(got nan\)"),
        ({"top_p": 0.0}, r"top_p must be above 0 and at most 1 \(got 0.0\)"),
        ({"top_p": 1.1}, r"top_p must be above 0 and at most 1 \(got 1.1\)"),
        ({"stop": 29}, r"stop must lie in 0 to 28 \(got 29\)"),
        ({"ids": torch.tensor([3, 29])}, r"ids must lie in 0 to 28 \(got 29\)"),
        ({"ids": torch.tensor([-1, 2])}, r"ids must lie in 0 to 28 \(got -1\)"),
        ({"ids": torch.arange(0)}, "the prompt is empty"),
        ({"ptr": torch.tensor([0, 2, 2, 3])}, "prompt 1 is empty: at least 1 token is needed"),
        ({"ptr": torch.tensor([0, 2])}, r"ptr must end at the number of tokens, 3 \(got \[0, 2\]\)"),
    ],
)
def test_bad_arguments_are_named_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        generate(make(), **{"ids": torch.arange(3), "tokens": 2} | options)


def test_a_model_that_cannot_write_is_refused():
    with pytest.raises(ValueError, match="model must be in evaluation mode"):
        generate(make().train(), torch.arange(3), tokens=2)
    with pytest.raises(ValueError, match="model must be causal"):
        generate(make({"causal": False, "convolution": 0}), torch.arange(3), tokens=2)
    broken = make()
    torch.nn.init.constant_(broken.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="scores are not finite"):
        next(generate(broken, torch.arange(3), tokens=2))

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from structformer.models.text_qa import TextQA, TextQAConfig

CONFIG = TextQAConfig(
    width=16,
    heads=2,
    steps=2,
    neighbors=3,
    affinity=7,
    slots=3,
    experts=3,
    vocabulary=23,
    answers=((1,), (2,), (1, 2), (2, 1), (22,)),
    dropout=0.0,
)
# Stories of 3, 1 (no story, only a question) and 5 sentences.
LENGTHS = [[3, 2, 4], [3], [2, 5, 1, 19, 3]]
SENTENCE = torch.tensor([i for story in LENGTHS for i, n in enumerate(story) for _ in range(n)])
PTR = torch.tensor([0, *(sum(story) for story in LENGTHS)]).cumsum(0)


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return TextQA(replace(CONFIG, **changes)).double().eval()


def words(seed=0):
    return torch.randint(23, (len(SENTENCE),), generator=torch.Generator().manual_seed(seed))


def test_evidence_of_each_story_sums_to_one_and_questions_have_none():
    found = make()(words(), PTR, SENTENCE)
    assert found.logits.shape == (3, 5)
    assert found.story_ptr.tolist() == [0, 3, 4, 9]
    sums = [float(found.evidence[a:b].sum().detach()) for a, b in pairwise(found.story_ptr.tolist())]
    assert sums == pytest.approx([1, 0, 1])
    assert found.evidence[found.story_ptr[1:] - 1].tolist() == [0, 0, 0]
    assert (found.evidence >= 0).all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"experts": 1, "slots": 0},
        {"normalizer": "entmax15"},
        {"halting": "act"},
        {"reach": 0, "edge_features": 0},
        {"edge_features": 0},
    ],
)
def test_stories_side_by_side_are_answered_as_alone(changes):
    model, ids = make(**changes), words()
    whole = model(ids, PTR, SENTENCE)
    for number, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone = model(ids[a:b], torch.tensor([0, b - a]), SENTENCE[a:b])
        torch.testing.assert_close(alone.logits[0], whole.logits[number], rtol=1e-9, atol=1e-9)
        begin, end = whole.story_ptr[number], whole.story_ptr[number + 1]
        torch.testing.assert_close(alone.evidence, whole.evidence[begin:end], rtol=1e-9, atol=1e-9)


def test_nothing_of_one_story_reaches_another():
    model, ids = make(), words()
    read = model.word(ids).detach().requires_grad_()
    plain = model.word.forward
    model.word.forward = lambda some: read if some is ids else plain(some)
    (grad,) = torch.autograd.grad(model(ids, PTR, SENTENCE).logits[2].square().sum(), read)
    assert grad[: PTR[2]].abs().sum() == 0
    assert (grad[PTR[2] :].abs().sum(1) > 0).all()


def test_sentences_listen_first_to_those_that_share_rare_words():
    rarity = torch.ones(23).index_fill(0, torch.tensor([7]), 0.01)
    model = make(rarity=tuple(rarity.tolist()))
    ids = torch.tensor([7, 3, 7, 4, 7, 5, 7, 5, 4])  # the question, 7 5 4, shares 7 with all
    ptr, sentence = torch.tensor([0, 9]), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
    heard = model(ids, ptr, sentence).encoded.graphs[0].to_scipy().toarray()[3]
    assert heard[1] + heard[2] > 0.9
    ids[4:6] = 7  # nothing rare any more
    heard = model(ids, ptr, sentence).encoded.graphs[0].to_scipy().toarray()[3]
    assert heard[1] > 0.8


def test_order_counts_among_sentences_and_among_words():
    model, ids = make(), words()[:9]
    ptr, sentence = torch.tensor([0, 9]), SENTENCE[:9]
    plain = model(ids, ptr, sentence).logits
    swapped_words = model(ids[[1, 0, 2, 3, 4, 5, 6, 7, 8]], ptr, sentence).logits
    swapped = model(ids[[3, 4, 0, 1, 2, 5, 6, 7, 8]], ptr, torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])).logits
    assert not torch.allclose(swapped_words, plain)
    assert not torch.allclose(swapped, plain)


def test_an_answer_scores_as_its_words_in_their_order():
    model, ids = make(), words()
    with torch.no_grad():
        model.word.weight[2] = model.word.weight[1]
    logits = model(ids, PTR, SENTENCE).logits
    torch.testing.assert_close(logits[:, 0], logits[:, 1])
    torch.testing.assert_close(logits[:, 2], logits[:, 3])
    assert not torch.allclose(logits[:, 0], logits[:, 2])
    other = make()(ids, PTR, SENTENCE).logits
    assert not torch.allclose(other[:, 2], other[:, 3])


def test_an_answer_that_the_evidence_names_scores_highest_from_the_start():
    hits = 0
    for seed in range(20):
        model = make(seed, width=64, answers=((1,), (2,), (3,), (4,)))
        named = 1 + seed % 4
        story = torch.tensor([named, 10, 11, 12])
        logits = model(story, torch.tensor([0, 4]), torch.tensor([0, 0, 0, 1])).logits
        hits += int(logits.argmax()) == named - 1
    assert hits >= 15


def test_training_stretches_ages_and_reading_does_not():
    model, ids = make(), words()
    assert torch.equal(model(ids, PTR, SENTENCE).logits, model(ids, PTR, SENTENCE).logits)
    model.train()
    assert not torch.allclose(model(ids, PTR, SENTENCE).logits, model(ids, PTR, SENTENCE).logits)
    still = make(stretch=0.0).train()
    assert torch.equal(still(ids, PTR, SENTENCE).logits, still(ids, PTR, SENTENCE).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([0, 23]), torch.tensor([0, 2]), torch.tensor([0, 1])), r"words must lie in 0 to 22"),
        ((torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([0, 1])), "ptr must rise from 0"),
        ((torch.tensor([0, 2]), torch.tensor([0, 0, 2]), torch.tensor([0, 1])), "ptr must rise from 0"),
        ((torch.tensor([0, 2]), torch.tensor([0, 2]), torch.tensor([0, 2])), "sentence must count from 0"),
        ((torch.tensor([0, 2]), torch.tensor([0, 2]), torch.tensor([1, 2])), "sentence must count from 0"),
        ((torch.tensor([0, 2]), torch.tensor([0, 1, 2]), torch.tensor([0, 1])), "sentence must count from 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make()(*arguments)


@pytest.mark.parametrize(
    "changes",
    [
        {"vocabulary": 0},
        {"answers": ()},
        {"answers": ((1,), ())},
        {"answers": ((1,), (2, 23))},
        {"places": 0},
        {"stretch": -1.0},
        {"reach": -1},
        {"rarity": (1.0, 2.0)},
        {"rarity": (-1.0,) * 23},
        {"edge_features": 2, "reach": 0},
        {"set_dropout": 1.0},
    ],
)
def test_sizes_are_checked(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        replace(CONFIG, **changes)


def moves(stories, generator):
    """Five people walk among five places; where is one of them? The last walk counts, others mislead."""
    ids, sentence, sizes, answers, support = [], [], [], [], []
    for _ in range(stories):
        where, when = {}, {}
        walks = torch.randint(5, (4, 2), generator=generator).tolist()
        for number, (who, place) in enumerate(walks):
            ids += [who, 5, 6 + place]
            sentence += [number] * 3
            where[who], when[who] = place, number
        asked = walks[int(torch.randint(4, (), generator=generator))][0]
        ids += [11, asked]
        sentence += [4, 4]
        sizes.append(14)
        answers.append(where[asked])
        support.append(when[asked])
    return (
        torch.tensor(ids),
        torch.tensor([0, *sizes]).cumsum(0),
        torch.tensor(sentence),
        *map(torch.tensor, (answers, support)),
    )


def test_it_learns_who_is_where_and_names_the_evidence():
    torch.manual_seed(0)
    places = tuple((6 + place,) for place in range(5))
    small = replace(CONFIG, width=32, vocabulary=12, answers=places, experts=1, slots=0, affinity=8)
    model = TextQA(small)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(250):
        *story, answers, _ = moves(64, generator)
        loss = F.cross_entropy(model(*story).logits, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    *story, answers, support = moves(200, torch.Generator().manual_seed(2))
    found = model(*story)
    assert (found.logits.argmax(1) == answers).double().mean() > 0.95
    strongest = found.evidence.view(200, 5).argmax(1)
    assert (strongest == support).double().mean() > 0.5

from dataclasses import replace

import pytest
import torch
from structformer.datasets import Story, wikitext2
from structformer.datasets.stories import parse_stories
from structformer.tasks.distractors_data import (
    SentencePool,
    frequent_words,
    hide,
    named,
    sentence_pool,
    tokens_for_share,
    whole_articles,
)

TEXT = """\
1 Mary and Daniel went to the bathroom.
2 Then they journeyed to the hallway.
3 John moved to the office.
4 Following that he took the apple.
5 Sandra is in the garden.
6 Where is Daniel?\thallway\t1 2
"""
(STORY,) = parse_stories(TEXT, 13)

WIKITEXT = """ \n = A heading of a page = \n \n The river flows north . Many <unk> live there ! He was a king ; \
In 1901 , the bridge fell ? It was built again . Yes \n The river flows north . The <unk> \n"""


def pool():
    """Sentences of 3 to 13 words, some of them related to the story."""
    free = [tuple(f"w{i}n{j}" for j in range(3 + i % 11)) for i in range(211)]
    related = [("the", name, "was", "far", f"x{i}") for i in range(29) for name in ("daniel", "hallway")]
    return SentencePool(tuple(free + related))


def own(hidden):
    pairs = zip(hidden.story.sentences, hidden.is_distractor, strict=True)
    return tuple(sentence for sentence, far in pairs if not far)


@pytest.mark.parametrize("tokens", [37, 61, 251, 1_009])
def test_the_story_is_all_there_in_its_order(tokens, rng):
    hidden = hide(STORY, pool(), tokens, rng)
    assert own(hidden) == STORY.sentences
    assert tokens - 3 < hidden.story.tokens <= tokens
    assert replace(hidden.story, sentences=STORY.sentences, supporting=STORY.supporting) == STORY
    supports = [hidden.story.sentences[index] for index in hidden.story.supporting]
    assert supports == list(STORY.sentences[:2])
    distractors = set(hidden.story.sentences) - set(STORY.sentences)
    assert len(distractors) == sum(hidden.is_distractor)
    assert distractors <= set(pool().sentences)
    lengths = [len(sentence) for sentence in distractors]
    assert hidden.share == sum(lengths) / (sum(lengths) + STORY.tokens - 3)


def test_the_story_alone_where_there_is_room_for_nothing_else(rng):
    hidden = hide(STORY, pool(), STORY.tokens + 2, rng)
    assert hidden.story == STORY
    assert hidden.share == 0


def test_distractors_speak_of_nothing_in_the_story_or_the_question(rng):
    assert named(STORY) >= {"mary", "daniel", "john", "sandra", "office", "apple", "took"}
    assert not named(STORY) & {"the", "to", "where", "is", "and"}
    names = named(STORY)
    for _ in range(11):
        hidden = hide(STORY, pool(), 499, rng)
        for sentence, far in zip(hidden.story.sentences, hidden.is_distractor, strict=True):
            assert not far or names.isdisjoint(sentence)
    asked = replace(STORY, sentences=STORY.sentences[2:3], question=("where", "is", "w7n0"), supporting=())
    drawn = hide(asked, pool(), 1_201, rng).story.sentences
    assert pool().sentences[7] not in drawn
    assert pool().sentences[8] in drawn or pool().sentences[9] in drawn


def test_distractors_tell_nothing_of_the_answer(rng):
    again = torch.Generator().manual_seed(rng.initial_seed())
    first = hide(replace(STORY, answer="w0n0"), pool(), 1_009, rng)
    second = hide(replace(STORY, answer="w1n0"), pool(), 1_009, again)
    assert first.story.sentences == second.story.sentences


def test_the_generator_draws_distractors_and_positions(rng):
    again = torch.Generator().manual_seed(rng.initial_seed())
    first, second, third = (hide(STORY, pool(), 251, generator) for generator in (rng, again, rng))
    assert first == second
    assert first.story.sentences != third.story.sentences
    assert first.is_distractor != third.is_distractor


def test_sentences_stand_anywhere_but_pronouns_behind_what_they_speak_of(rng):
    places = []
    for _ in range(601):
        hidden = hide(STORY, pool(), 101, rng)
        where = [hidden.story.sentences.index(sentence) for sentence in STORY.sentences]
        assert where[1] == where[0] + 1
        assert where[3] == where[2] + 1
        last = len(hidden.story.sentences) - 1
        places.append([where[0] / last, where[2] / last, where[4] / last])
    # Three groups among n distractors stand, on average, at a quarter, a half and three quarters of the way.
    mean = torch.tensor(places).mean(dim=0)
    assert (mean - torch.tensor([0.25, 0.5, 0.75])).abs().max() < 0.08
    assert 0 in [place[0] for place in places]
    assert 1 in [place[2] for place in places]


def test_what_does_not_fit_is_refused(rng):
    with pytest.raises(
        ValueError, match=rf"at least the story's own {STORY.tokens} \(got {STORY.tokens - 1}\)"
    ):
        hide(STORY, pool(), STORY.tokens - 1, rng)
    words = sum(map(len, pool().sentences[:211]))
    hide(STORY, pool(), STORY.tokens + words + 12, rng)
    with pytest.raises(ValueError, match=r"pool has too few .*: 13 words are missing"):
        hide(STORY, pool(), STORY.tokens + words + 13, rng)
    with pytest.raises(ValueError, match="sentences is empty"):
        SentencePool(())


@pytest.mark.parametrize("share", [0, 0.31, 0.9])
def test_lengths_for_a_share(share, rng):
    hidden = hide(STORY, pool(), tokens_for_share(STORY, share), rng)
    assert hidden.share == pytest.approx(share, abs=0.07)
    assert share or hidden.share == 0


def test_a_share_of_one_has_no_length():
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\) \(got 1\)"):
        tokens_for_share(STORY, 1)


def test_a_pool_takes_whole_sentences_that_stand_for_themselves():
    text = WIKITEXT.encode()
    river, bridge = ("the", "river", "flows", "north"), ("in", "1901", ",", "the", "bridge", "fell")
    assert sentence_pool(text).sentences == (river, bridge)
    assert (sentence_pool(text).shortest, sentence_pool(text).longest) == (4, 6)
    assert sentence_pool(text, {*river, "moon"}).sentences == (river,)
    assert frequent_words(text, 4) == frozenset(river)
    with pytest.raises(ValueError, match="sentences is empty"):
        sentence_pool(text, {"the"})
    with pytest.raises(ValueError, match=r"count must be at least 1 \(got 0\)"):
        frequent_words(text, 0)


def test_real_sentences_hide_a_story_at_every_length(data_folder, rng, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    try:
        parts = wikitext2()
    except FileNotFoundError as error:
        pytest.skip(f"real data is needed: {error}")
    known = frequent_words(parts.train, 8_000)
    for text, least in ((parts.train, 10_000), (parts.valid + parts.test, 1_200)):
        sentences = sentence_pool(text, known)
        assert len(sentences.sentences) > least
        for tokens in (250, 1_000, 8_000):
            hidden = hide(STORY, sentences, tokens, rng)
            assert tokens - 3 < hidden.story.tokens <= tokens
            assert own(hidden) == STORY.sentences


def test_a_story_of_no_sentence_has_only_distractors(rng):
    story = Story(1, 1, (), ("who", "is", "that"), "nobody", ())
    assert hide(story, pool(), 61, rng).share == 1


def test_articles_are_divided_whole():
    articles = [
        f" = Article {i} = \n \n = = Part = = \n It rained all of day {i} . \n".encode() for i in range(9)
    ]
    text = b"\n".join(articles)
    parts = whole_articles(text, 0.5, 0.2)
    assert b"".join(parts) == text
    assert [part.count(b"Article") for part in parts] == [5, 2, 2]
    assert all(part.startswith(b" = Article") for part in parts)
    with pytest.raises(ValueError, match="together below 1"):
        whole_articles(text, 0.5, 0.5)
    with pytest.raises(ValueError, match="too few articles"):
        whole_articles(articles[0], 0.5)

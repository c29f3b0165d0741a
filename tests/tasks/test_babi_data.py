import pytest
import torch
from structformer.datasets import Babi, babi
from structformer.datasets.stories import parse_stories
from structformer.tasks.babi_data import Vocabulary, answer_vocabulary, pack, word_vocabulary

SAMPLE = """\
1 Mary moved to the bathroom.
2 Mary got the football there.
3 Where is Mary? \tbathroom\t1
4 John went to the hallway.
5 What is Mary carrying? \tFootball,Milk\t2 4
1 The garden is west of the office.
2 How do you go from the garden to the office?\te,n\t1
"""


def test_unknown_words_are_plain_to_see():
    vocabulary = Vocabulary.of(["mary", "garden", "mary", "is"])
    assert vocabulary.words == ("garden", "is", "mary")
    assert len(vocabulary) == 4
    assert vocabulary.ids(["is", "bill", "garden", "fred", "mary"]) == [2, 0, 1, 0, 3]
    assert vocabulary.unknown(["is", "fred", "bill", "fred"]) == ["bill", "fred"]


def test_vocabularies_hold_what_the_stories_say():
    stories = parse_stories(SAMPLE, 1)
    assert answer_vocabulary(stories).words == ("bathroom", "e,n", "football,milk")
    words = word_vocabulary(stories[:1])
    assert words.words == (
        "bathroom",
        "football",
        "got",
        "is",
        "mary",
        "moved",
        "the",
        "there",
        "to",
        "where",
    )


def test_packed_stories_can_be_read_back():
    stories = parse_stories(SAMPLE, 1)
    words, answers = word_vocabulary(stories), answer_vocabulary(stories[:2])
    tokens = pack(stories, words, answers)
    assert tokens.num_sets == 3
    assert tokens.sizes.tolist() == [story.tokens for story in stories]
    assert tokens.x.shape == (tokens.num_tokens, 0)
    assert tokens.y.tolist() == [1, 2, 0]
    for index, story in enumerate(stories):
        one = tokens.select(torch.tensor([index]))
        parts = (*story.sentences, story.question)
        assert one.code.tolist() == words.ids(word for part in parts for word in part)
        assert one.token_sentence.tolist() == [i for i, part in enumerate(parts) for _ in part]
        assert torch.equal(one.question_mask, one.token_sentence == len(story.sentences))
        assert torch.equal(one.support_mask, torch.isin(one.token_sentence, torch.tensor(story.supporting)))
    with pytest.raises(ValueError, match="stories is empty"):
        pack([], words, answers)


@pytest.fixture(scope="module")
def real(data_folder) -> Babi:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRUCTFORMER_DATA", str(data_folder))
        try:
            return babi()
        except FileNotFoundError as error:
            pytest.skip(f"real data is needed: {error}")


def test_the_real_test_has_no_unknown_word_and_one_unknown_answer(real):
    words, answers = word_vocabulary(real.train), answer_vocabulary(real.train)
    assert (len(words), len(answers)) == (157, 58)
    for part in (real.validation, real.test):
        assert not words.unknown(word for story in part for one in story.sentences for word in one)
        assert not words.unknown(word for story in part for word in story.question)
    assert not answers.unknown(story.answer for story in real.validation)
    assert answers.unknown(story.answer for story in real.test) == ["football,apple,milk"]

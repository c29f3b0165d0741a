import json
import math

import pytest
import torch
from sklearn.exceptions import NotFittedError

from structformer.tokenize import QuestionTokenizer
from structformer.tokenize.questions import read_asked, words_of

STORY = (["Mary took the ball.", "Mary went to John's park!"], "Where is the ball?")
OTHER = (["John slept."], "Who slept?")


def test_words_are_lower_case_and_bare_of_signs():
    assert words_of("Mary's ball, isn\u2019t it?") == ["mary's", "ball", "isn\u2019t", "it"]
    assert words_of("Ärger in Köln") == ["ärger", "in", "köln"]
    assert words_of(" ?! ") == ["?!"]


def test_words_of_one_sentence_share_its_place():
    tokenizer = QuestionTokenizer().fit([STORY, OTHER], ["park"])
    tokens = tokenizer.transform([OTHER, STORY])
    assert tokens.ptr.tolist() == [0, 4, 17]
    assert tokens["token_sentence"].tolist() == [0, 0, 1, 1, *[0] * 4, *[1] * 5, *[2] * 4]
    spelled = [tokenizer.words_[number - 1] for number in tokens["token_word"].tolist()]
    assert spelled[:4] == ["john", "slept", "who", "slept"]
    assert spelled[-4:] == ["where", "is", "the", "ball"]
    assert tokenizer.words_ == tuple(sorted(tokenizer.words_))


def test_words_that_training_did_not_hold_are_word_0():
    tokenizer = QuestionTokenizer().fit([OTHER])
    tokens = tokenizer.transform([(["Mary slept."], "Who?")])
    assert tokens["token_word"].tolist() == [0, *tokenizer.numbers("slept who")]
    assert 0 not in tokenizer.numbers("slept who")


def test_rare_words_say_more():
    tokenizer = QuestionTokenizer().fit([STORY, OTHER], ["cellar"])
    rarity = dict(zip(tokenizer.words_, tokenizer.rarity_[1:], strict=True))
    assert rarity["park"] > rarity["ball"] > 0
    # Five sentences and questions; "the" stands in two of them, as "mary" and "ball" do.
    assert rarity["mary"] == rarity["the"] == pytest.approx(math.log(6 / 3))
    assert rarity["park"] == pytest.approx(math.log(6 / 2))
    assert rarity["cellar"] > rarity["park"], "an answer that no sentence holds is the rarest"
    assert tokenizer.rarity_[0] == 0


def test_it_comes_back_from_json():
    tokenizer = QuestionTokenizer().fit([STORY, OTHER], ["park"])
    again = QuestionTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.rarity_ == tokenizer.rarity_
    assert torch.equal(again.transform([STORY])["token_word"], tokenizer.transform([STORY])["token_word"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Where?", "pairs of a story and a question"),
        ([], "at least one story"),
        (["ab"], "entry 0 is 'ab'"),
        ([STORY, (["a"], "b", "c")], "entry 1 is"),
        ([("A story in one piece.", "Where?")], "list of sentences"),
        ([([1], "Where?")], "entry 0 has 1"),
        ([([" "], "Where?")], "entry 0 has ' '"),
        ([(["a"], None)], "entry 0 has None"),
    ],
)
def test_what_cannot_be_read_is_named(asked, said):
    with pytest.raises(ValueError, match=said):
        read_asked(asked)


def test_before_fit():
    with pytest.raises(NotFittedError, match="call fit first"):
        QuestionTokenizer().transform([STORY])

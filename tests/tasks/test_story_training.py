import torch
from structformer.datasets import Story
from structformer.tasks.story_training import ARMS, Lexicon, answered, build, story_losses, wrong

from structformer.models.text_qa import TextQAConfig

STORIES = [
    Story(1, 0, (("mary", "went", "home"),), ("where", "is", "mary"), "home", (0,)),
    Story(19, 1, (("a", "is", "north", "of", "b"),), ("how", "from", "a", "to", "b"), "s,e", (0,)),
]
CONFIG = TextQAConfig(width=16, heads=2, steps=2, experts=1)


def test_answers_are_read_word_by_word_and_unknown_ones_have_number_0():
    lexicon = Lexicon.of(STORIES)
    said = [[(*lexicon.words.words,)[word - 1] for word in answer] for answer in lexicon.answer_words[1:]]
    assert lexicon.answer_words[0] == (0,)
    assert said == [["home"], ["s", "e"]]
    stranger = Story(1, 2, STORIES[0].sentences, STORIES[0].question, "garden", (0,))
    torch.manual_seed(0)
    model = build(ARMS[0], CONFIG, lexicon)
    assert answered(model, lexicon, [stranger])[1].tolist() == [0]
    assert wrong(model, lexicon, [stranger]) == [True]


def test_every_story_is_met_once_before_any_is_met_again():
    lexicon = Lexicon.of(STORIES)
    torch.manual_seed(0)
    model = build(ARMS[0], CONFIG, lexicon).eval()
    each = [story_losses(model, lexicon, [story], 1, 0)(0).noted for story in STORIES]
    losses = story_losses(model, lexicon, STORIES, 1, seed=3)
    met = [losses(update).noted for update in range(6)]
    for first in (0, 2, 4):
        torch.testing.assert_close(sorted(met[first : first + 2]), sorted(each))

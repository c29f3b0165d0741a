import pytest
from structformer.tasks.tabfact_words import Word, stem, words


def stems(text):
    return " ".join(word.stem for word in words(text))


@pytest.mark.parametrize(
    ("written", "lemmatised"),
    [
        ("the blue jays played three games", "the blue jay play 3 game"),
        ("he won twice in the 1st round", "he win 2 in the first round"),
        ("Vitória was ranked the worse", "vitoria be rank the worse"),
        ("two companies scored 1,000 points", "2 company score 1000 point"),
        ("it didn't stop", "it do not stop"),
        ("the matches are tied", "the match be tie"),
    ],
)
def test_statements_as_written_and_lemmatised_ones_come_to_one_form(written, lemmatised):
    assert stems(written) == stems(lemmatised)


@pytest.mark.parametrize(
    "forms",
    [("score", "scores", "scored", "scoring"), ("stop", "stopped"), ("city", "cities"), ("is", "were")],
)
def test_forms_of_a_word_share_their_stem_and_other_words_do_not(forms):
    assert len({stem(form) for form in forms}) == 1
    assert len({stem(word) for word in ("score", "stop", "city", "is", "red", "speed", "bus", "king")}) == 8


def test_numbers_and_places_in_an_order():
    assert words("1,234.50 third .5") == (Word("1234.5", 1234.5), Word("3", 3.0, True), Word("0.5", 0.5))
    assert [word.ordinal for word in words("the 21st of 21")] == [False, True, False, False]


def test_content_is_what_is_talked_about():
    assert [word.stem for word in words("the most points were scored by 12 greens") if word.content] == [
        "point",
        "scor",
        "green",
    ]

import pytest
from structformer.tasks.tabfact_triggers import TRIGGERS, triggers
from structformer.tasks.tabfact_words import words


def said(text: str) -> set[str]:
    return {name for name, there in zip(TRIGGERS, triggers(words(text)), strict=True) if there}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("ann lee has 30 points", set()),
        ("nobody ever won", {"not", "win"}),
        ("the AVERAGE is shared", {"mean", "same"}),
        ("only one defeat", {"only", "win", "lose"}),
        ("later than bo day", {"above", "than"}),
    ],
)
def test_words_say_what_a_statement_does(text: str, expected: set[str]):
    found = said(text)
    assert expected <= found
    assert expected or not found


def test_how_often_and_in_which_order_does_not_matter():
    assert said("the most of all") == said("all of the most, the most of all")

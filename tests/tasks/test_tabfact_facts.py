import pandas as pd
import pytest
import torch
from structformer.tasks.tabfact_data import shuffled
from structformer.tasks.tabfact_facts import FACTS, facts, row_cover
from structformer.tasks.tabfact_links import link
from structformer.tasks.tabfact_numbers import NUMBER_FACTS, number_facts
from structformer.tasks.tabfact_tables import ReadTable
from structformer.tasks.tabfact_triggers import TRIGGERS, triggers
from structformer.tasks.tabfact_words import words

TABLE = ReadTable.of(
    pd.DataFrame(
        {
            "player": ["ann lee", "bo day", "cy fox", "di poe", "ed roy"],
            "country": ["spain", "peru", "spain", "spain", "chad"],
            "points": ["30", "12", "45", "9", "14"],
        }
    )
)


def said(text, table=TABLE):
    return dict(zip(FACTS, facts(link(words(text), table), table), strict=True))


def of_number(text):
    (found,) = number_facts(link(words(text), TABLE), TABLE).values()
    return {name for name, true in zip(NUMBER_FACTS, found, strict=True) if true}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 players are from spain", {"rows of a link", "rows of all links"}),
        ("4 players are from spain", {"nearly rows of a link"}),
        ("ann lee has 18 points more than bo day", {"difference"}),
        ("the points are 110 in all", {"sum"}),
        ("on average 22 points", {"mean"}),
        ("45 points", {"a cell", "largest"}),
        ("9 points", {"a cell", "smallest"}),
        ("5 players", {"rows", "distinct"}),
        ("players from 3 countries", {"distinct"}),
        ("77 points", set()),
    ],
)
def test_what_a_number_may_be(text, expected):
    assert of_number(text) - {"beyond"} == expected


def test_how_many_are_beyond_another_number():
    table_of = number_facts(link(words("2 players have over 20 points"), TABLE), TABLE)
    assert table_of[0][NUMBER_FACTS.index("beyond")] == 1
    table_of = number_facts(link(words("1 player has over 20 points"), TABLE), TABLE)
    assert table_of[0][NUMBER_FACTS.index("beyond")] == 0


def test_links_in_a_row_and_in_no_row():
    right, wrong = said("cy fox is from spain with 45"), said("cy fox is from peru with 45")
    assert (right["pairs in a row"], right["pairs in no row"]) == (2, 0)
    assert (wrong["pairs in a row"], wrong["pairs in no row"]) == (0, 2)
    assert right["best row, links"] == 1
    assert wrong["best row, links"] == pytest.approx(2 / 3)
    assert row_cover(link(words("cy fox is from spain"), TABLE)) == {0: 0.5, 2: 1.0, 3: 0.5}


def test_ranks_of_the_row_that_is_spoken_of():
    first, last = said("cy fox has the most points"), said("di poe has the fewest points")
    assert (first["is largest"], first["is smallest"], first["says most"], first["says least"]) == (
        1,
        0,
        1,
        0,
    )
    assert (last["is largest"], last["is smallest"], last["says most"], last["says least"]) == (0, 1, 0, 1)


def test_comparisons_go_by_who_is_named_first():
    more, fewer = said("ann lee has more points than bo day"), said("bo day has fewer points than ann lee")
    assert (more["first is larger"], more["first is smaller"], more["says above"]) == (1, 0, 1)
    assert (fewer["first is larger"], fewer["first is smaller"], fewer["says below"]) == (0, 1, 1)
    assert said("ann lee has points")["compared"] == 0


def test_a_statement_that_says_nothing_of_the_table_has_its_facts_too():
    assert len(facts(link(words("borries-ileigh"), TABLE), TABLE)) == len(FACTS)
    empty = ReadTable.of(pd.DataFrame({"a": [], "b": []}))
    assert len(facts(link(words("5 of them are b"), empty), empty)) == len(FACTS)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_and_columns_changes_nothing(seed):
    moved = shuffled(TABLE, seed)
    assert moved.cells != TABLE.cells or moved.headers != TABLE.headers
    for text in (
        "3 players from spain have more than 12 points",
        "cy fox has 15 more points than ann lee of spain",
    ):
        a, b = link(words(text), TABLE), link(words(text), moved)
        assert facts(a, TABLE) == facts(b, moved)


def test_triggers_are_found_by_stems():
    found = dict(zip(TRIGGERS, triggers(words("no other player scored higher")), strict=True))
    assert {name for name, there in found.items() if there} >= {"not", "above"}
    assert not any(triggers(words("green apples")))


def test_shuffling_depends_on_its_numbers_alone():
    before = torch.random.get_rng_state()
    assert shuffled(TABLE, 3, 1).cells == shuffled(TABLE, 3, 1).cells
    assert torch.equal(before, torch.random.get_rng_state())

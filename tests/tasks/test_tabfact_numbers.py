import numpy as np
import pandas as pd
import pytest
from structformer.tasks.tabfact_links import link
from structformer.tasks.tabfact_numbers import NUMBER_FACTS, common_rows, near, number_facts, spoken_columns
from structformer.tasks.tabfact_tables import ReadTable
from structformer.tasks.tabfact_words import words

TABLE = ReadTable.of(
    pd.DataFrame(
        {
            "player": ["ann lee", "bo day", "cy fox", "di poe"],
            "country": ["spain", "peru", "spain", "chad"],
            "points": ["30", "12", "45", ""],
            "games": ["3", "1", "7", "2"],
        }
    )
)


def read(text: str, table: ReadTable = TABLE):
    return link(words(text), table)


def facts(text: str, table: ReadTable = TABLE) -> list[set[str]]:
    found = number_facts(read(text, table), table)
    return [{name for name, true in zip(NUMBER_FACTS, row, strict=True) if true} for row in found.values()]


def test_each_number_of_a_statement_has_facts_of_its_own():
    first, second = facts("2 players from spain have 75 points")
    assert {"rows of a link", "rows of all links"} <= first
    assert "sum of rows" in second
    assert facts("players from spain") == []


def test_a_table_without_numbers_or_without_rows_has_no_sums():
    names = ReadTable.of(pd.DataFrame({"player": ["ann", "bo"]}))
    assert facts("3 players", names) == [set()]
    empty = ReadTable.of(pd.DataFrame({"player": [], "points": []}))
    assert facts("7 points", empty) == [set()]
    assert common_rows(read("nobody is named", TABLE)) == frozenset()


def test_the_column_that_is_named_is_spoken_of_and_otherwise_all_of_numbers():
    assert spoken_columns(read("most points"), TABLE) == [2]
    assert spoken_columns(read("ann lee is first"), TABLE) == [2, 3]


def test_gaps_count_in_no_difference_and_no_extreme():
    (found,) = facts("the smallest points are 12")
    assert "smallest" in found
    assert not np.isnan(TABLE.values[:3, 2]).any()
    assert np.isnan(TABLE.values[3, 2])


@pytest.mark.parametrize(("a", "b", "agree"), [(1e9, 1e9 + 10, True), (0.0, 1e-7, True), (1.0, 1.01, False)])
def test_numbers_agree_but_for_rounding(a: float, b: float, agree: bool):
    assert near(a, b) == agree

import pandas as pd
import pytest
from structformer.tasks.tabfact_links import link, longest_common
from structformer.tasks.tabfact_tables import ReadTable
from structformer.tasks.tabfact_words import words

TABLE = ReadTable.of(
    pd.DataFrame(
        {
            "tournament": ["masters tournament", "us open", "the open championship", "pga championship"],
            "wins": ["0", "0", "1", "0"],
            "top - 5": ["1", "2", "2", "0"],
            "record": ["3 - 2", "2 - 3", "12 - 3", "3 - 2 - 1"],
        }
    )
)


def linked(text):
    return link(words(text), TABLE)


def spans(found, links):
    return [" ".join(word.stem for word in found.words[one.start : one.end]) for one in links]


def test_cells_are_found_by_their_words():
    found = linked("he was in the top 5 of the US Open and won the open championship once")
    assert spans(found, found.texts) == ["us open", "the open championship"]
    assert [one.cells for one in found.texts] == [((1, 0),), ((2, 0),)]
    # The 5 is in no cell, "once" is the number 1.
    assert [found.words[place].stem for place in found.loose] == ["5"]
    assert [one.cells for one in found.numbers] == [((0, 2), (2, 1), (3, 3))]


def test_a_part_of_a_name_is_enough_and_the_longest_stretch_counts():
    assert linked("the masters").texts[0].cells == ((0, 0),)
    # Of stretches of equal length that one counts which is more of its cell.
    assert linked("a championship").texts[0].cells == ((3, 0),)
    assert linked("the pga championship").texts[0].cells == ((3, 0),)


def test_scores_must_be_there_as_a_whole():
    found = linked("the record was 3 - 2 at first")
    assert [one.cells for one in found.texts] == [((0, 3),)]
    assert linked("the record was 7 - 2").texts == ()


def test_headers_are_named_by_their_words():
    found = linked("most wins at a tournament")
    assert found.mentions == (1.0, 1.0, 0.0, 0.0)
    assert sorted(found.words[place].stem for place in found.headed) == ["tournament", "win"]


def test_the_order_of_rows_and_columns_moves_the_places_alone():
    rows, columns = [2, 0, 3, 1], [3, 1, 0, 2]
    here = linked("the us open and the masters , with 3 - 2 and 2 wins")
    there = link(here.words, TABLE.permuted(rows, columns))
    for a, b in zip(here.links, there.links, strict=True):
        assert (a.start, a.end, a.covered, a.number) == (b.start, b.end, b.covered, b.number)
        assert {(rows[r], columns[c]) for r, c in b.cells} == set(a.cells)
    assert sorted(here.mentions) == sorted(there.mentions)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abcd", "xbcy", (1, 2)),
        ("abab", "ab", (0, 2)),
        ("abc", "xyz", (0, 0)),
        ("", "a", (0, 0)),
        ("aab", "ab", (1, 2)),
    ],
)
def test_the_longest_common_stretch(a, b, expected):
    assert longest_common(tuple(a), tuple(b)) == expected

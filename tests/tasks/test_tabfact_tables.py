import math

import numpy as np
import pandas as pd
import pytest
from structformer.tasks.tabfact_tables import ReadTable, value_of

FRAME = pd.DataFrame(
    {
        "nation": ["china (chn)", "iran", "japan", "iran", ""],
        "gold": ["43", "4", "1", "4", "n / a"],
        "date": ["may 1 , 2008", "june 3 , 2008", "may 9 , 2007", "-", "may 2 , 2008"],
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("31,303", 31303),
        ("-2.5", -2.5),
        ("$ 1,000", 1000),
        ("us$3", 3),
        ("45 km", 45),
        ("1:30", 90),
        ("2:00:05", 7205),
    ],
)
def test_numbers_and_times_are_read(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize("text", ["", "china", "-", "n / a", "cone (1 - 1)", "3 of the best of all"])
def test_what_is_no_number_is_none(text):
    assert math.isnan(value_of(text))


def test_dates_are_in_order():
    dates = [
        "march 3",
        "may 1",
        "may 2 , 1999",
        "april 30 , 2000",
        "may 1 , 2000",
        "dec 1 , 2000",
        "jan 3 2001",
    ]
    values = [value_of(date) for date in dates]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert math.isnan(value_of("marquez (0 - 1)"))


def test_ranks_and_repeats_by_hand():
    table = ReadTable.of(FRAME)
    assert table.numeric == (False, True, True)
    assert table.from_top[:4, 1].tolist() == [0, 1, 3, 1]
    assert table.from_bottom[:4, 1].tolist() == [3, 1, 0, 1]
    assert np.isnan(table.from_top[:, 0]).all()
    assert np.isnan(table.from_top[4, 1])
    assert [row[0] for row in table.repeats] == [1, 2, 1, 2, 0]
    assert table.distinct[:2] == (3, 4)
    assert table.most_repeated == (2, 2, 1)
    assert table.sorted_values[1].tolist() == [1, 4, 4, 43]
    assert table.keys["iran",] == ((1, 0), (3, 0))


def test_another_order_moves_everything_along():
    table, rows, columns = ReadTable.of(FRAME), [3, 0, 4, 1, 2], [2, 0, 1]
    moved = table.permuted(rows, columns)
    again = ReadTable.of(FRAME.iloc[rows, columns])
    assert moved.headers == again.headers
    assert moved.cells == again.cells
    np.testing.assert_array_equal(moved.values, again.values)
    np.testing.assert_array_equal(moved.from_top, table.from_top[np.ix_(rows, columns)])

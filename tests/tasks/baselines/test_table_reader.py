import numpy as np
import pandas as pd
import pytest
from structformer.tasks.baselines.table_reader import MOST_CATEGORIES, TableReader, columns_of, kind_of

FRAME = pd.DataFrame(
    {
        "size": [1.0, np.nan, 3.0, 4.0],
        "member": [True, False, True, True],
        "since": pd.to_datetime(["1970-01-02", "1970-02-01 12:00", None, "1970-01-05"], format="mixed"),
        "colour": ["red", None, "blue", "red"],
    }
)


def test_numbers_truth_values_and_dates_are_numbers():
    found = TableReader().fit(FRAME).transform(FRAME)
    assert all(pd.api.types.is_float_dtype(found[name]) for name in columns_of(found, "number"))
    size, member, days, month, weekday = (found[name].to_numpy() for name in columns_of(found, "number"))
    np.testing.assert_array_equal(size, [1, np.nan, 3, 4])
    np.testing.assert_array_equal(member, [1, 0, 1, 1])
    np.testing.assert_array_equal(days, [1, 31.5, np.nan, 4])
    np.testing.assert_array_equal(month, [1, 2, np.nan, 1])
    np.testing.assert_array_equal(weekday, [4, 6, np.nan, 0])  # 2 January 1970 was a Friday


def test_categories_are_those_of_training():
    reader = TableReader().fit(FRAME)
    found = reader.transform(FRAME.assign(colour=pd.Categorical(["blue", "green", None, "red"])))
    (name,) = columns_of(found, "category")
    assert list(found[name].cat.categories) == ["blue", "red"]
    assert found[name].cat.codes.tolist() == [0, -1, -1, 1]


def test_order_of_columns_plays_no_part_and_columns_keep_their_names():
    reader = TableReader().fit(FRAME)
    pd.testing.assert_frame_equal(reader.transform(FRAME), reader.transform(FRAME[FRAME.columns[::-1]]))


def notes(rows=MOST_CATEGORIES + 50):
    kinds = ["cheap bad broken", "fine good great"]
    return pd.DataFrame({"note": [f"{kinds[row % 2]} no{row}" for row in range(rows)]}), rows


def test_text_gives_numbers_that_tell_what_it_is_about():
    frame, rows = notes()
    reader = TableReader(components=5).fit(frame)
    found = reader.transform(frame)
    assert found.shape == (rows, 5)
    middle = found.to_numpy()
    # The first two components part the two kinds; what is left is in the rows' own words.
    near = np.linalg.norm(middle[0, :2] - middle[2, :2]), np.linalg.norm(middle[0, :2] - middle[1, :2])
    assert near[0] < 0.1 * near[1]
    unknown = reader.transform(pd.DataFrame({"note": ["words never met", None]}))
    assert not unknown.to_numpy().any()


def test_text_may_stay_as_it_is():
    frame, _ = notes()
    frame.loc[3, "note"] = None
    found = TableReader(components=None).fit(frame).transform(frame)
    (name,) = columns_of(found, "text")
    assert found[name].tolist()[2:4] == ["cheap bad broken no2", ""]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "number"),
        ([True, False], "number"),
        (pd.to_datetime(["2020-01-01"]), "date"),
        (["a", "b"], "category"),
        (pd.Categorical(["a"]), "category"),
        ([f"w{i}" for i in range(MOST_CATEGORIES)], "category"),
        ([f"w{i}" for i in range(MOST_CATEGORIES + 1)], "text"),
    ],
)
def test_kinds(values, kind):
    assert kind_of(pd.Series(values)) == kind

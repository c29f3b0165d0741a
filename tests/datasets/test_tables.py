import gzip
from io import BytesIO

import pandas as pd
import pytest
from structformer.datasets import mixed_table
from structformer.datasets.tables import TARGETS

# Rows, columns to predict from, and the share of the class that is asked about, or the mean.
REAL = {
    "adult": (48_842, 14, ">50K", 0.239),
    "ames": (2_930, 73, None, 180_796),
    "attrition": (1_470, 30, "Yes", 0.161),
    "bank": (4_521, 17, "yes", 0.115),
    "california_housing": (20_640, 8, None, 2.069),
    "credit_data": (4_454, 13, "bad", 0.282),
    "diamonds": (53_940, 9, None, 3_933),
    "mlc_churn": (5_000, 19, "yes", 0.141),
    "titanic": (1_309, 3, "yes", 0.382),
    "womens_clothing_reviews": (23_486, 9, 1, 0.822),
}


def test_all_tables_are_tested():
    assert set(REAL) == set(TARGETS)


@pytest.mark.parametrize("name", REAL)
def test_the_real_tables(real, name):
    real(f"mixed_tables/{name}")
    table = mixed_table(name)
    rows, columns, asked, figure = REAL[name]
    assert table.frame.shape == (rows, columns)
    assert table.target.shape == (rows,)
    assert not table.target.isna().any()
    assert table.target.name not in table.frame.columns
    assert table.task == ("regression" if asked is None else "classification")
    found = table.target.mean() if asked is None else (table.target == asked).mean()
    assert found == pytest.approx(figure, rel=5e-3)
    # Texts are of pandas' own kind in every table, whoever wrote it.
    assert {str(kind) for kind in table.frame.dtypes} <= {"int64", "float64", "str", "object"}


FRAME = pd.DataFrame(
    {
        "survived": ["yes", "no", "yes"],
        "sex": ["female", None, "male"],
        "age": [29.0, 0.92, float("nan")],
        "passengerClass": ["1st", "2nd", "3rd"],
    }
)
WITH_NAMES = (
    "rownames,survived,sex,age,passengerClass\nAllen,yes,female,29,1st\nB,no,,0.92,2nd\nC,yes,male,,3rd\n"
)


def parquet(frame, **more):
    packed = BytesIO()
    frame.to_parquet(packed, **more)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", WITH_NAMES.encode()),
        (".csv.gz", gzip.compress(WITH_NAMES.encode())),
        (".parquet", parquet(FRAME)),
        (
            ".parquet",
            parquet(FRAME.astype(dict.fromkeys(("survived", "sex", "passengerClass"), "string"))),
        ),
        (".parquet.brotli", parquet(FRAME, compression="brotli")),
    ],
)
def test_a_table_is_the_same_in_every_form(given, suffix, content):
    given("mixed_tables/titanic", {f"tables/titanicsurvival{suffix}": content})
    table = mixed_table("titanic")
    pd.testing.assert_frame_equal(table.frame, FRAME.drop(columns="survived"))
    pd.testing.assert_series_equal(table.target, FRAME["survived"])
    assert table.task == "classification"


def test_none_is_a_gap_and_other_words_are_not(given):
    text = "rownames,Alley,Mas_Vnr_Type,Sale_Price\n1,No_Alley_Access,None,7\n2,null,NA,8\n3,nan,Stone,9\n"
    given("mixed_tables/ames", {"tables/ames.csv": text.encode()})
    table = mixed_table("ames")
    assert table.frame["Alley"].tolist() == ["No_Alley_Access", "null", "nan"]
    assert table.frame["Mas_Vnr_Type"].isna().tolist() == [True, True, False]
    assert table.target.tolist() == [7, 8, 9]
    assert table.task == "regression"


def test_a_damaged_table_is_named(given):
    folder = given("mixed_tables/ames", {"tables/ames.parquet": parquet(FRAME)})
    (folder / "tables/ames.parquet").write_bytes(parquet(FRAME)[:-1])
    with pytest.raises(ValueError, match=r"ames\.parquet is damaged"):
        mixed_table("ames")


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match=r"name must be one of adult, ames, .* \(got 'iris'\)"):
        mixed_table("iris")

import json

import pytest
from structformer.datasets import tabfact

TABLES = {
    "a.csv": 'name#year\nann#1999\nbob\'s, "x"#\n',
    "b.csv": "x#x\n1#2\n",
    "c.csv": "only\n",
    "d.csv": "k#v\na#b\n",
}


@pytest.fixture
def small(given):
    lists = {
        "train_id": ["a.csv"],
        "val_id": ["b.csv"],
        "test_id": ["c.csv", "d.csv"],
        "complex_ids": ["a.csv", "d.csv"],
        "simple_ids": ["b.csv", "c.csv"],
        "complex_test_id": ["d.csv"],
        "simple_test_id": ["c.csv"],
        "small_test_id": ["d.csv"],
        "all_positive_negative_pairs": [["a.csv", "ann won", "ann lost"], ["c.csv", "of the test", "no"]],
        "val_examples": {"b.csv": [["one", "two"], [1, 0], "things"]},
        "test_examples": {"c.csv": [["three"], [0], "others"], "d.csv": [["four"], [1], "more"]},
    }
    files = {f"tabfact/{name}.json": json.dumps(content).encode() for name, content in lists.items()}
    tables = {f"tabfact/all_csv/{name}": text.encode() for name, text in TABLES.items()}
    given("tabfact", {**files, **tables})


def test_statements_know_their_table_and_split(small):
    rows = tabfact().statements
    assert rows.to_dict("split")["data"] == [
        ["a.csv", "ann won", True, "train", True, False],
        ["a.csv", "ann lost", False, "train", True, False],
        ["b.csv", "one", True, "val", False, False],
        ["b.csv", "two", False, "val", False, False],
        ["c.csv", "three", False, "test", False, False],
        ["d.csv", "four", True, "test", True, True],
    ]
    assert list(rows.columns) == ["table", "statement", "entailed", "split", "complex", "small"]


def test_tables_are_text(small):
    found = tabfact()
    assert set(found.tables) == set(TABLES)
    assert len(found.tables) == 4
    first = found.tables["a.csv"]
    assert first.to_dict("split")["data"] == [["ann", "1999"], ['bob\'s, "x"', ""]]
    assert list(first.columns) == ["name", "year"]
    assert list(found.tables["b.csv"].columns) == ["x", "x"]
    assert found.tables["c.csv"].shape == (0, 1)
    assert found.captions == {"b.csv": "things", "c.csv": "others", "d.csv": "more"}
    with pytest.raises(KeyError):
        found.tables["e.csv"]


@pytest.fixture(scope="module")
def real_facts(data_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRUCTFORMER_DATA", str(data_folder))
        try:
            return tabfact()
        except FileNotFoundError as error:
            pytest.skip(f"real data is needed: {error}")


def test_the_real_statements(real_facts):
    rows = real_facts.statements
    assert rows["split"].value_counts().to_dict() == {"train": 17_654, "val": 12_792, "test": 12_779}
    tables = {split: set(some) for split, some in rows.groupby("split")["table"]}
    assert {split: len(some) for split, some in tables.items()} == {
        "train": 7_916,
        "val": 1_696,
        "test": 1_695,
    }
    assert not tables["train"] & tables["val"]
    assert not tables["train"] & tables["test"]
    assert not tables["val"] & tables["test"]
    test = rows[rows["split"] == "test"]
    assert (int(test["complex"].sum()), int((~test["complex"]).sum())) == (8_608, 4_171)
    assert int(test["small"].sum()) == 1_998
    assert not rows.loc[rows["split"] != "test", "small"].any()
    assert 0.49 < test["entailed"].mean() < 0.52
    assert rows.loc[rows["split"] == "train", "entailed"].mean() == 0.5


def test_the_real_tables(real_facts):
    assert len(real_facts.tables) == 16_573
    assert set(real_facts.statements["table"]) <= set(real_facts.tables)
    for name in list(real_facts.tables)[::97]:
        table = real_facts.tables[name]
        assert min(table.shape) > 0
        assert not table.isna().to_numpy().any()

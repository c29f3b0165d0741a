import pandas as pd
import pytest
import structformer.tasks.tabfact_data as data
from structformer.datasets import TabFact
from structformer.tasks.tabfact_data import Statement, corpus, examples, labels, shuffled
from structformer.tasks.tabfact_tables import ReadTable

FRAME = pd.DataFrame({"player": ["ann", "bo", "cy"], "points": ["3", "12", "7"]})


@pytest.fixture
def statements(monkeypatch):
    rows = [
        (split, f"{split} table", f"{name} has {points} points", entailed, number % 2 == 0, number == 0)
        for split in ("train", "val", "test")
        for number, (name, points, entailed) in enumerate(
            [("ann", 3, True), ("bo", 3, False), ("cy", 7, True)]
        )
    ]
    names = ["split", "table", "statement", "entailed", "complex", "small"]
    tables = {f"{split} table": FRAME for split in ("train", "val", "test")}
    found = TabFact(tables, pd.DataFrame(rows, columns=names), dict.fromkeys(tables, ""))
    monkeypatch.setattr(data, "tabfact", lambda: found)
    corpus.cache_clear()
    examples.cache_clear()
    yield
    corpus.cache_clear()
    examples.cache_clear()


@pytest.mark.usefixtures("statements")
def test_parts_are_cut_and_only_the_test_tells_what_is_complex_and_small():
    found = corpus(2, 1)
    assert {name: len(part) for name, part in found.parts.items()} == {"train": 2, "val": 1, "test": 1}
    assert found.parts["train"][0].complex is None
    assert not found.parts["train"][0].small
    assert (found.parts["test"][0].complex, found.parts["test"][0].small) == (True, True)
    assert labels(corpus().parts["val"]).tolist() == [1, 0, 1]


@pytest.mark.usefixtures("statements")
def test_a_statement_is_read_against_the_table_that_it_is_given():
    found = corpus()
    statement = found.parts["train"][0]
    moved = found.tables[statement.table].permuted([2, 1, 0], [1, 0])
    here, there = found.linked(statement).texts[0], found.linked(statement, moved).texts[0]
    assert here.cells == ((0, 0),)
    assert there.cells == ((2, 1),)
    assert len(examples("val")) == 3


def test_an_order_is_decided_by_its_numbers():
    table = ReadTable.of(pd.concat([FRAME] * 4, ignore_index=True))
    one, same, other = (shuffled(table, *numbers) for numbers in ((1, 2), (1, 2), (1, 3)))
    assert one.cells == same.cells
    assert one.cells != other.cells
    assert sorted(map(sorted, [[w.stem for c in row for w in c] for row in one.cells])) == sorted(
        map(sorted, [[w.stem for c in row for w in c] for row in table.cells])
    )
    assert labels([]).shape == (0,)
    assert labels([Statement("t", "x", False)]).tolist() == [0]

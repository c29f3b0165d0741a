import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.estimators import rows as module
from structformer.estimators.rows import (
    bare_rows,
    batches_of_rows,
    canonical_order,
    grid,
    take_rows,
)
from structformer.tokenize.tables import TableTokenizer
from structformer.tokens import TokenSet

ROWS = 31


def table():
    draw = np.random.default_rng(7)
    notes = [f"a note of some length on thing number {number}" for number in range(ROWS)]
    frame = pd.DataFrame(
        {
            "size": draw.integers(0, 3, ROWS).astype(float),
            "note": notes,
            "colour": draw.choice(["red", "blue"], ROWS),
        }
    )
    frame.loc[frame.index[4:6], "note"] = None
    return frame


@pytest.fixture(scope="module")
def tokenizer():
    return TableTokenizer().fit(table())


@pytest.fixture
def cells(tokenizer):
    return tokenizer.transform(table())


def test_the_grid_has_a_row_a_table_row(tokenizer, cells):
    values, codes = grid(cells)
    places = [column.name for column in tokenizer.columns_]
    assert values.shape == codes.shape == (ROWS, 3)
    assert (codes[:, places.index("note")] == 0).nonzero().flatten().tolist() == [4, 5]
    assert values[:, places.index("size")].unique().numel() == 3


def test_only_cells_have_a_grid():
    with pytest.raises(ValueError, match="tokens must be cells of a table"):
        grid(TokenSet(torch.rand(3, 1)))


def test_bare_rows_keep_what_a_network_reads(cells):
    bare = bare_rows(cells)
    assert sorted(bare.keys()) == ["code", "ptr", "text", "x"]
    assert bare.code.equal(cells.code)


def test_taken_rows_bring_their_own_texts_only(tokenizer, cells):
    chosen = torch.tensor([17, 4, 2, 17])
    part = take_rows(bare_rows(cells), chosen, tokenizer.columns_)
    place = [column.kind for column in tokenizer.columns_].index("text")
    assert len(part.text) == 3, "missing, and two texts"
    found = part.text[grid(part)[1][:, place]]
    expected = cells.text[grid(cells)[1][chosen, place]]
    assert found.equal(expected)
    assert grid(part)[1][1, place] == 0
    assert not part.text[0].any()
    others = [i for i in range(3) if i != place]
    assert grid(part)[1][:, others].equal(grid(cells)[1][chosen][:, others])


def test_batches_are_bounded_and_hold_every_row_once(tokenizer, cells, monkeypatch):
    monkeypatch.setattr(module, "CELLS_A_BATCH", 20)
    like = torch.zeros(1, dtype=torch.float64)
    parts = list(batches_of_rows(bare_rows(cells), tokenizer.columns_, like))
    assert [part.num_sets for part in parts] == [6, 6, 6, 6, 6, 1]
    assert torch.cat([part.x for part in parts]).equal(cells.x.double())
    assert {part.text.dtype for part in parts} == {torch.float64}


def test_a_row_wider_than_a_batch_goes_alone(tokenizer, cells, monkeypatch):
    monkeypatch.setattr(module, "CELLS_A_BATCH", 2)
    parts = list(batches_of_rows(bare_rows(cells), tokenizer.columns_, torch.zeros(1)))
    assert [part.num_sets for part in parts] == [1] * ROWS


def test_no_rows_make_one_empty_batch(tokenizer):
    empty = bare_rows(tokenizer.transform(table().iloc[:0]))
    parts = list(batches_of_rows(empty, tokenizer.columns_, torch.zeros(1)))
    assert [part.num_sets for part in parts] == [0]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), weighted=st.booleans())
def test_the_order_of_rows_depends_on_their_content_alone(seed, weighted):
    # Few values in few columns: many rows differ in one thing only.
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": draw.integers(0, 2, ROWS) / 2, "b": draw.choice(["x", "y", None], ROWS)})
    target = draw.integers(0, 2, ROWS)
    weight = torch.from_numpy(draw.integers(1, 3, ROWS).astype(np.float32)) if weighted else None
    cells = TableTokenizer().fit_transform(frame)
    perm = torch.from_numpy(draw.permutation(ROWS))

    def ordered(cells, target, weight):
        order = canonical_order(cells, target, weight)
        found = [*grid(cells.select(order)), torch.from_numpy(target)[order]]
        return found if weight is None else [*found, weight[order]]

    moved = ordered(cells.select(perm), target[perm], None if weight is None else weight[perm])
    for one, other in zip(ordered(cells, target, weight), moved, strict=True):
        assert one.equal(other)


def test_texts_take_part_in_the_order(tokenizer, cells):
    perm = torch.randperm(ROWS)
    shuffled = tokenizer.transform(table().iloc[perm.numpy()])
    target = np.zeros(ROWS)
    order, moved = canonical_order(cells, target, None), canonical_order(shuffled, target, None)
    assert perm[moved].equal(order)

"""TabFact's statements, read against their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from structformer.datasets import tabfact

from .sweeps import generator
from .tabfact_links import Linked, link
from .tabfact_tables import ReadTable
from .tabfact_tokens import Example, Lexicon, tokens_of
from .tabfact_words import words

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement about a table.

    Attributes:
        table: Name of the table.
        text: What is said.
        entailed: Whether it is true.
        complex: Whether it is among the complex ones; None where that is not told.
        small: Whether it is of the small test set.
    """

    table: str
    text: str
    entailed: bool
    complex: bool | None = None
    small: bool = False


@dataclass(frozen=True, eq=False)
class Corpus:
    """All statements, and their tables.

    Attributes:
        parts: The statements of each of `SPLITS`.
        tables: By name.
    """

    parts: dict[str, tuple[Statement, ...]]
    tables: dict[str, ReadTable]

    def linked(self, statement: Statement, table: ReadTable | None = None) -> Linked:
        """Return the statement with its links into its table, or into the same table in another order."""
        return link(words(statement.text), self.tables[statement.table] if table is None else table)

    def example(self, statement: Statement, lexicon: Lexicon, table: ReadTable | None = None) -> Example:
        """Return the statement's tokens."""
        table = self.tables[statement.table] if table is None else table
        return tokens_of(self.linked(statement, table), table, lexicon)

    def lexicon(self) -> Lexicon:
        """Return the words of the training statements and of the names of their tables' columns."""
        train = self.parts["train"]
        headers = [
            header for name in sorted({s.table for s in train}) for header in self.tables[name].headers
        ]
        return Lexicon.of([*(words(statement.text) for statement in train), *headers])


@lru_cache(maxsize=2)
def corpus(train: int | None = None, others: int | None = None) -> Corpus:
    """Return the statements; with numbers, so many for training, and for validation and the test each.

    The training statements come in pairs, a true and a false one about the same table; pairs stay together.

    Raises:
        FileNotFoundError: If the data is not there.
    """
    data = tabfact()
    parts: dict[str, tuple[Statement, ...]] = {}
    for split, number in zip(SPLITS, (train, others, others), strict=True):
        rows = data.statements[data.statements["split"] == split].head(number or len(data.statements))
        parts[split] = tuple(
            Statement(
                str(row.table),
                str(row.statement),
                bool(row.entailed),
                bool(row.complex) if split == "test" else None,
                split == "test" and bool(row.small),
            )
            for row in rows.itertuples()
        )
    names = sorted({statement.table for part in parts.values() for statement in part})
    return Corpus(parts, {name: ReadTable.of(data.tables[name]) for name in names})


@lru_cache(maxsize=6)
def examples(split: str, train: int | None = None, others: int | None = None) -> tuple[Example, ...]:
    """Return the tokens of a split's statements."""
    all_of = corpus(train, others)
    lexicon = all_of.lexicon()
    return tuple(all_of.example(statement, lexicon) for statement in all_of.parts[split])


def labels(statements: Sequence[Statement]) -> np.ndarray:
    """Return 1 for true statements and 0 for false ones."""
    return np.array([int(statement.entailed) for statement in statements])


def shuffled(table: ReadTable, *numbers: int) -> ReadTable:
    """Return the table with its rows and columns in an order that these numbers decide."""
    drawn = generator(*numbers)
    rows = torch.randperm(table.num_rows, generator=drawn).tolist()
    return table.permuted(rows, torch.randperm(table.num_columns, generator=drawn).tolist())

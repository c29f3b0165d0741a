"""Statements and tables as token sets: words, columns, rows and cells, linked by what they share.

A cell knows its column by name and its row by a link; nothing says where either stands. Of the table only the
rows that the statement's links lead to have tokens; what the others hold is in ranks, counts and facts. Words of the
statement are linked to the words beside them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.tokens import TokenSet

from .tabfact_facts import facts, row_cover
from .tabfact_links import Linked
from .tabfact_numbers import NUMBER_FACTS, number_facts
from .tabfact_tables import ReadTable
from .tabfact_words import Word

KINDS = ("statement", "word", "column", "row", "cell")
STATEMENT, WORD, COLUMN, ROW, CELL = range(len(KINDS))
EDGES = (
    "next word",
    "word before",
    "next but one",
    "word before that",
    "word in cell",
    "cell of word",
    "word in header",
    "header of word",
    "cell in row",
    "row of cell",
    "cell in column",
    "column of cell",
    "larger",
    "smaller",
    "equal",
    "apart by a number",
)
_BIT = {name: 1 << place for place, name in enumerate(EDGES)}
# Words of a token that are read.
READ = 6
# Rows that have tokens, at most.
ROWS = 6
_WIDTHS = {WORD: 6 + len(NUMBER_FACTS), COLUMN: 8, ROW: 4, CELL: 10}
_STARTS = {kind: sum(list(_WIDTHS.values())[:place]) for place, kind in enumerate(_WIDTHS)}
FEATURES = sum(_WIDTHS.values())
# The feature of a word and of a cell that says whether it is linked.
LINKED = {kind: _STARTS[kind] for kind in (WORD, CELL)}


@dataclass(frozen=True)
class Lexicon:
    """Stems that are told apart, from 2 on; 0 is no word and 1 any other."""

    number: dict[str, int]

    @classmethod
    def of(cls, texts: Iterable[tuple[Word, ...]], least: int = 20) -> Lexicon:
        """Number the stems that occur so often at least. Give it training text only."""
        counts = Counter(word.stem for text in texts for word in text if word.number is None)
        kept = sorted(stem for stem, count in counts.items() if count >= least)
        return cls({stem: place for place, stem in enumerate(kept, start=2)})

    def __len__(self) -> int:
        return len(self.number) + 2

    def ids(self, text: Sequence[Word]) -> list[int]:
        """Return the numbers of a text's first words, filled up with 0."""
        found = [self.number.get(word.stem, 1) for word in text[:READ]]
        return found + [0] * (READ - len(found))


@dataclass(frozen=True, eq=False)
class Example:
    """A statement with its table, as tokens."""

    kind: Int[np.ndarray, "tokens"]
    words: Int[np.ndarray, "tokens read"]
    x: Float[np.ndarray, "tokens features"]
    edges: Int[np.ndarray, "edges 3"]
    facts: Float[np.ndarray, "facts"]


class _Tokens:
    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.kind: list[int] = []
        self.words: list[list[int]] = []
        self.x: list[list[float]] = []
        self.edges: dict[tuple[int, int], int] = {}

    def add(self, kind: int, text: Sequence[Word], values: Sequence[float]) -> int:
        row = [0.0] * FEATURES
        if kind != STATEMENT:
            assert len(values) == _WIDTHS[kind]
            row[_STARTS[kind] : _STARTS[kind] + len(values)] = values
        self.kind.append(kind)
        self.words.append(self.lexicon.ids(text))
        self.x.append(row)
        return len(self.kind) - 1

    def link(self, source: int, target: int, name: str) -> None:
        self.edges[source, target] = self.edges.get((source, target), 0) | _BIT[name]

    def both(self, a: int, b: int, name: str, back: str) -> None:
        self.link(a, b, name)
        self.link(b, a, back)


def tokens_of(linked: Linked, table: ReadTable, lexicon: Lexicon) -> Example:
    """Return the tokens of a statement and its table, in the order in which they are read: row by row."""
    out = _Tokens(lexicon)
    out.add(STATEMENT, (), ())
    numbers = {word.number for word in linked.words if word.number is not None}
    true_of = number_facts(linked, table)
    places = _add_words(out, linked, true_of)
    columns = _add_columns(out, linked, table, numbers, places)
    cells = _add_rows(out, linked, table, numbers, columns)
    _link_cells(out, linked, table, numbers, places, cells)
    edges = [(source, target, kinds) for (source, target), kinds in out.edges.items()]
    return Example(
        np.array(out.kind, np.int8),
        np.array(out.words, np.int16),
        np.array(out.x, np.float16),
        np.array(edges, np.int32).reshape(-1, 3),
        np.array(facts(linked, table, true_of), np.float32),
    )


def pack(examples: Sequence[Example], labels: Sequence[int] | None = None) -> TokenSet:
    """Pack statements into one batch, with `token_words`, `set_facts` and, where there are labels, `y`."""
    sizes = [len(example.kind) for example in examples]
    starts = np.cumsum([0, *sizes])
    edges = np.concatenate(
        [example.edges[:, :2] + start for example, start in zip(examples, starts[:-1], strict=True)]
    )
    kinds = np.concatenate([example.edges[:, 2] for example in examples])
    kinds = (kinds[:, None] >> np.arange(len(EDGES))) & 1
    return TokenSet(
        x=_joined([example.x for example in examples]).float(),
        ptr=torch.from_numpy(starts),
        edge_index=torch.from_numpy(np.ascontiguousarray(edges.T, dtype=np.int64)),
        edge_attr=torch.from_numpy(kinds.astype(np.float32)),
        token_type=_joined([example.kind for example in examples]).long(),
        y=None if labels is None else torch.tensor(labels),
        token_words=_joined([example.words for example in examples]).long(),
        set_facts=torch.from_numpy(np.stack([example.facts for example in examples])),
    )


def _joined(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _add_words(out: _Tokens, linked: Linked, true_of: dict[int, list[float]]) -> list[int]:
    covered = {place: one for one in linked.texts for place in range(one.start, one.end)}
    none = [0.0] * len(NUMBER_FACTS)
    places: list[int] = []
    for place, word in enumerate(linked.words):
        one = covered.get(place)
        values = (
            0.0 if one is None else one.covered,
            0.0 if one is None else 1 / len(one.rows),
            float(place in linked.headed),
            float(word.number is not None),
            0.0 if word.number is None else _squashed(word.number),
            float(word.ordinal),
            *true_of.get(place, none),
        )
        places.append(out.add(WORD, (word,), values))
    for distance, names in ((1, EDGES[:2]), (2, EDGES[2:4])):
        for a, b in zip(places, places[distance:], strict=False):
            out.both(a, b, *names)
    return places


def _add_columns(
    out: _Tokens, linked: Linked, table: ReadTable, numbers: set[float], places: list[int]
) -> list[int]:
    columns: list[int] = []
    for column, header in enumerate(table.headers):
        sorted_values = table.sorted_values[column] if table.numeric[column] else np.zeros(0)
        total = float(sorted_values.sum()) if len(sorted_values) else math.nan
        distinct = table.distinct[column]
        values = (
            linked.mentions[column],
            float(table.numeric[column]),
            distinct / max(1, table.num_rows),
            float(distinct in numbers),
            float(total in numbers),
            float(bool(len(sorted_values)) and round(total / len(sorted_values), 2) in numbers),
            float(bool(len(sorted_values)) and float(sorted_values[-1]) in numbers),
            float(bool(len(sorted_values)) and float(sorted_values[0]) in numbers),
        )
        columns.append(out.add(COLUMN, header, values))
        stems = {word.stem for word in header}
        for place, word in zip(places, linked.words, strict=True):
            if word.stem in stems and word.content:
                out.both(place, columns[-1], "word in header", "header of word")
    return columns


def _add_rows(
    out: _Tokens, linked: Linked, table: ReadTable, numbers: set[float], columns: list[int]
) -> dict[tuple[int, int], int]:
    cover = row_cover(linked)
    best = max(cover.values(), default=0.0)
    ties = sum(share == best for share in cover.values())
    # Rows of equal share are chosen by what they hold.
    chosen = sorted(cover, key=lambda row: (-cover[row], sorted(table.spelled[row])))[:ROWS]
    found = {cell for one in linked.links for cell in one.cells}
    cells: dict[tuple[int, int], int] = {}
    for row in sorted(chosen):
        at = out.add(ROW, (), (cover[row], float(cover[row] == best), 1 / ties, len(linked.links) / 8))
        for column in range(table.num_columns):
            text = table.cells[row][column]
            if not text:
                continue
            values = _cell(table, row, column, numbers, (row, column) in found, linked.mentions[column])
            cells[row, column] = token = out.add(CELL, text, values)
            out.both(token, at, "cell in row", "row of cell")
            out.both(token, columns[column], "cell in column", "column of cell")
    return cells


def _cell(
    table: ReadTable, row: int, column: int, numbers: set[float], linked: bool, mention: float
) -> tuple[float, ...]:
    above, below = table.from_top[row, column], table.from_bottom[row, column]
    ranked = not math.isnan(above)
    value = table.values[row, column]
    return (
        float(linked),
        mention,
        table.repeats[row][column] / table.num_rows,
        float(table.repeats[row][column] == 1),
        float(ranked),
        float(ranked and above == 0),
        float(ranked and below == 0),
        above / max(1.0, above + below) if ranked else 0.0,
        0.0 if math.isnan(value) else _squashed(value),
        float(value in numbers),
    )


def _link_cells(
    out: _Tokens,
    linked: Linked,
    table: ReadTable,
    numbers: set[float],
    places: list[int],
    cells: dict[tuple[int, int], int],
) -> None:
    for one in linked.links:
        for cell in one.cells:
            for place in range(one.start, one.end):
                if cell in cells:
                    out.both(places[place], cells[cell], "word in cell", "cell of word")
    by_column: dict[int, list[int]] = {}
    for row, column in cells:
        by_column.setdefault(column, []).append(row)
    for column, rows in by_column.items():
        for row, other in permutations(rows, 2):
            here, there = cells[row, column], cells[other, column]
            a, b = float(table.values[row, column]), float(table.values[other, column])
            if table.numeric[column] and not math.isnan(a - b):
                out.link(here, there, "larger" if a > b else "smaller" if a < b else "equal")
                if a != b and abs(a - b) in numbers:
                    out.link(here, there, "apart by a number")
            elif table.spelled[row][column] == table.spelled[other][column]:
                out.link(here, there, "equal")


def _squashed(number: float) -> float:
    return math.copysign(math.log1p(abs(number)), number) / 8

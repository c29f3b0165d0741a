"""Features of a statement and a table: what links, counts, ranks and comparisons say, in a fixed number of figures.

They do not depend on the order of rows or columns. All arms but those of words alone are given them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .tabfact_links import Link, Linked, weight
from .tabfact_numbers import NUMBER_FACTS, common_rows, number_facts, spoken_columns
from .tabfact_tables import ReadTable
from .tabfact_triggers import TRIGGERS, triggers

_SHAPE = ("rows", "columns", "words", "numbers", "loose numbers", "text links", "number links")
_COVER = (
    "words in cells",
    "words in headers",
    "words nowhere",
    "number of words nowhere",
    "least covered link",
    "best row, links",
    "best row, text links",
    "best rows",
    "number links in a text link's row",
    "number links in no text link's row",
)
_PAIRS = ("pairs", "pairs in a row", "pairs in no row", "share of pairs in a row", "least common rows")
_PLACED = ("number in a spoken column", "number in another column")
_RANKS = ("ranked", "is largest", "is smallest", "next to largest", "next to smallest", "rank from top")
_TIMED = ("timed", "is last", "is first", "rank from last")
_COMPARED = ("compared", "first is larger", "first is smaller", "equal")
_LATER = ("compared in time", "first is later", "first is earlier", "at once")
_ALIKE = ("alike in a spoken column", "unlike in a spoken column")
_SETS = (
    "rows in common",
    "one row in common",
    "link of one row",
    "link of all rows",
    "commonest",
    "first covers second",
)
FACTS = (
    *_SHAPE,
    *_COVER,
    *_PAIRS,
    *_PLACED,
    *_RANKS,
    *_TIMED,
    *_COMPARED,
    *_LATER,
    *_ALIKE,
    *_SETS,
    *(f"number is {name}" for name in NUMBER_FACTS),
    "number is nothing",
    "mentioned columns",
    *(f"says {name}" for name in TRIGGERS),
)


def facts(linked: Linked, table: ReadTable, numbers: dict[int, list[float]] | None = None) -> list[float]:
    """Return the figures that `FACTS` names; ``numbers`` are the `number_facts`, if they are known."""
    numbers = number_facts(linked, table) if numbers is None else numbers
    said = triggers(linked.words)
    mentioned = sum(mention >= 0.5 for mention in linked.mentions)
    spoken, times = spoken_columns(linked, table), [c for c in range(table.num_columns) if table.times[c]]
    return [
        *_shape(linked, table),
        *_cover(linked, table),
        *_pairs(linked),
        *_placed(linked),
        *_ranks(linked, table, spoken),
        *_timed(_ranks(linked, table, times)),
        *_compared(linked, table, spoken),
        *_compared(linked, table, times),
        *_alike(linked, table),
        *_sets(linked, table),
        *_numbers(numbers),
        float(mentioned),
        *said,
    ]


def row_cover(linked: Linked) -> dict[int, float]:
    """Return for each row that a link has the share of the statement's links that it has."""
    found: dict[int, int] = {}
    for one in linked.links:
        for row in one.rows:
            found[row] = found.get(row, 0) + 1
    return {row: count / len(linked.links) for row, count in found.items()}


def _shape(linked: Linked, table: ReadTable) -> list[float]:
    numbers = sum(word.number is not None for word in linked.words)
    counts = (
        table.num_rows,
        table.num_columns,
        len(linked.words),
        numbers,
        len(linked.loose),
        len(linked.texts),
        len(linked.numbers),
    )
    return [math.log1p(count) for count in counts]


def _cover(linked: Linked, table: ReadTable) -> list[float]:
    total = math.fsum(weight(word) for word in linked.words if word.number is None) or 1.0
    inside = {place for place in linked.inside if linked.words[place].number is None}
    cells = math.fsum(weight(linked.words[place]) for place in inside)
    heads = math.fsum(weight(linked.words[place]) for place in linked.headed - inside)
    nowhere = sum(
        word.content and place not in inside and place not in linked.headed
        for place, word in enumerate(linked.words)
    )
    cover = row_cover(linked)
    best = max(cover.values(), default=0.0)
    rows = frozenset.union(frozenset(), *(one.rows for one in linked.texts))
    by_row = [len(one.rows & rows) > 0 for one in linked.numbers]
    texts = max((sum(row in one.rows for one in linked.texts) for row in rows), default=0)
    return [
        cells / total,
        heads / total,
        nowhere / max(1, len(linked.words)),
        math.log1p(nowhere),
        min((one.covered for one in linked.texts), default=0.0),
        best,
        texts / max(1, len(linked.texts)),
        math.log1p(sum(share == best for share in cover.values())),
        float(sum(by_row)),
        float(len(by_row) - sum(by_row)),
    ]


def _pairs(linked: Linked) -> list[float]:
    """Links that follow each other in the statement and are not of the same columns: do they share a row?"""
    shared = [len(a.rows & b.rows) for a, b in pairwise(linked.links) if not a.columns & b.columns]
    together = sum(map(bool, shared))
    return [
        float(len(shared)),
        float(together),
        float(len(shared) - together),
        together / max(1, len(shared)),
        math.log1p(min(shared, default=0)),
    ]


def _placed(linked: Linked) -> list[float]:
    """Is a number of the rows spoken of in a column spoken of, or in another one?"""
    rows, best = set(_focus(linked)), max(linked.mentions, default=0.0)
    spoken = other = 0
    for one in linked.numbers:
        columns = {column for row, column in one.cells if row in rows}
        said = any(linked.mentions[column] >= max(best - 1e-9, 0.3) for column in columns)
        spoken += said
        other += bool(columns) and not said
    return [float(spoken), float(other)]


def _ranks(linked: Linked, table: ReadTable, columns: Sequence[int]) -> list[float]:
    """Is a row spoken of the first or the last of these columns?"""
    rows = sorted(common_rows(linked)) or _focus(linked)
    top = [table.from_top[row, column] for row in rows for column in columns]
    bottom = [table.from_bottom[row, column] for row in rows for column in columns]
    pairs = [(a, b) for a, b in zip(top, bottom, strict=True) if not math.isnan(a)]
    if not pairs:
        return [0.0] * len(_RANKS)
    return [
        1.0,
        float(any(a == 0 for a, _ in pairs)),
        float(any(b == 0 for _, b in pairs)),
        float(any(a == 1 for a, _ in pairs)),
        float(any(b == 1 for _, b in pairs)),
        min(a / max(1.0, a + b) for a, b in pairs),
    ]


def _timed(ranks: list[float]) -> list[float]:
    ranked, largest, smallest, _, _, place = ranks
    return [ranked, largest, smallest, place]


def _compared(linked: Linked, table: ReadTable, columns: Sequence[int]) -> list[float]:
    """Of two links in different rows, is the one named first larger in these columns?"""
    first, second = _two(linked.texts)
    if first is None or second is None:
        return [0.0] * len(_COMPARED)
    signs = [
        float(np.sign(table.values[a, column] - table.values[b, column]))
        for a in first.rows
        for b in second.rows
        for column in columns
    ]
    signs = [sign for sign in signs if not math.isnan(sign)]
    if not signs:
        return [0.0] * len(_COMPARED)
    return [1.0, *(sum(sign == wanted for sign in signs) / len(signs) for wanted in (1.0, -1.0, 0.0))]


def _alike(linked: Linked, table: ReadTable) -> list[float]:
    """Have two links in different rows the same in a column that is named?"""
    first, second = _two(linked.texts)
    best = max(linked.mentions, default=0.0)
    if first is None or second is None or best < 0.3:
        return [0.0, 0.0]
    same = [
        table.spelled[a][column] == table.spelled[b][column]
        for a in first.rows
        for b in second.rows
        for column, said in enumerate(linked.mentions)
        if said >= best - 1e-9 and column not in first.columns
    ]
    return [sum(same) / max(1, len(same)), 1 - sum(same) / len(same) if same else 0.0]


def _sets(linked: Linked, table: ReadTable) -> list[float]:
    common = len(common_rows(linked))
    sizes = [len(one.rows) for one in linked.texts]
    covers = bool(len(linked.texts) > 1 and linked.texts[0].rows <= linked.texts[-1].rows)
    commonest = any(
        len(one.rows) == table.most_repeated[column] for one in linked.texts for column in one.columns
    )
    return [
        math.log1p(common),
        float(common == 1),
        float(1 in sizes),
        float(table.num_rows in sizes),
        float(commonest),
        float(covers),
    ]


def _numbers(found: dict[int, list[float]]) -> list[float]:
    if not found:
        return [0.0] * (len(NUMBER_FACTS) + 1)
    rows = list(found.values())
    return [*(sum(column) for column in zip(*rows, strict=True)), float(sum(not any(row) for row in rows))]


def _focus(linked: Linked) -> list[int]:
    cover = row_cover(linked)
    best = max(cover.values(), default=0.0)
    return sorted(row for row, share in cover.items() if share == best)


def _two(texts: tuple[Link, ...]) -> tuple[Link | None, Link | None]:
    for first, second in pairwise(texts):
        if not first.rows & second.rows and first.columns & second.columns:
            return first, second
    return None, None

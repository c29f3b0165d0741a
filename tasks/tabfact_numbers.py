"""What the numbers of a statement may be: counts of rows, sums, means, extremes and differences in a table."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .tabfact_links import Linked
from .tabfact_tables import ReadTable

NUMBER_FACTS = (
    "a cell",
    "rows of a link",
    "rows of all links",
    "nearly rows of a link",
    "rows",
    "distinct",
    "sum",
    "mean",
    "largest",
    "smallest",
    "difference",
    "beyond",
    "rows of two links",
    "sum of rows",
    "mean of rows",
    "beyond among rows",
)
_MENTIONED = 0.5
# Rows that a link may have so that differences between it and others are looked at.
_FEW = 6


def number_facts(linked: Linked, table: ReadTable) -> dict[int, list[float]]:
    """Return for each number of the statement, by its place, which of `NUMBER_FACTS` are true of it."""
    places = {at: word.number for at, word in enumerate(linked.words) if word.number is not None}
    places = {at: number for at, number in places.items() if at not in linked.inside}
    if not places:
        return {}
    counts = {
        len({r for r, c in link.cells if c == column}) for link in linked.texts for column in link.columns
    }
    together = len(common_rows(linked))
    columns = spoken_columns(linked, table)
    sums = [table.sorted_values[column] for column in columns]
    sums = [values for values in sums if len(values)]
    apart = differences(linked, table, columns)
    distinct = {table.distinct[column] for column, said in enumerate(linked.mentions) if said >= _MENTIONED}
    here = {one.start for one in linked.numbers}
    two = {len(a.rows & b.rows) for a, b in combinations(linked.texts, 2)}
    rows = [one.rows for one in linked.texts]
    rows = [*rows, frozenset.union(*rows)] if len(rows) > 1 else rows
    among = [table.values[sorted(some), column] for some in rows if len(some) > 1 for column in columns]
    among = [np.sort(values[~np.isnan(values)]) for values in among]
    among = [values for values in among if len(values) > 1]
    return {
        at: [
            float(at in here),
            float(number in counts),
            float(bool(linked.texts) and number == together),
            float(number not in counts and bool({number - 1, number + 1} & counts)),
            float(number == table.num_rows),
            float(number in distinct),
            float(any(near(number, values.sum()) for values in sums)),
            float(any(near(number, values.mean(), 0.02) for values in sums)),
            float(any(near(number, values[-1]) for values in sums)),
            float(any(near(number, values[0]) for values in sums)),
            float(any(near(number, value) for value in apart)),
            float(_beyond(number, [other for place, other in places.items() if place != at], sums)),
            float(number in two),
            float(any(near(number, values.sum()) for values in among)),
            float(any(near(number, values.mean(), 0.02) for values in among)),
            float(_beyond(number, [other for place, other in places.items() if place != at], among)),
        ]
        for at, number in places.items()
    }


def common_rows(linked: Linked) -> frozenset[int]:
    """Return the rows that all links by words have."""
    if not linked.texts:
        return frozenset()
    return frozenset.intersection(*(one.rows for one in linked.texts))


def spoken_columns(linked: Linked, table: ReadTable) -> list[int]:
    """Return the numeric columns that the statement names best; all where it names none."""
    numeric = [column for column in range(table.num_columns) if table.numeric[column]]
    best = max((linked.mentions[column] for column in numeric), default=0.0)
    named = [column for column in numeric if linked.mentions[column] >= max(best - 1e-9, 0.3)]
    return named or numeric


def differences(linked: Linked, table: ReadTable, columns: list[int]) -> set[float]:
    """Return by how much the rows of two links differ in these columns."""
    few = [one for one in linked.texts if len(one.rows) <= _FEW]
    return {
        abs(table.values[a, column] - table.values[b, column])
        for one, other in combinations(few, 2)
        for a in one.rows
        for b in other.rows
        if a != b
        for column in columns
        if not np.isnan(table.values[a, column] - table.values[b, column])
    }


def near(number: float, value: float, share: float = 1e-6) -> bool:
    """Return whether two numbers agree but for rounding."""
    return abs(number - value) <= share * max(1.0, abs(value))


def _beyond(number: float, others: list[float], columns: list[np.ndarray]) -> bool:
    """Return whether so many cells of a column are larger, or smaller, than another number of the statement."""
    return any(
        number in (int((values > other).sum()), int((values < other).sum()))
        for values in columns
        for other in others
    )

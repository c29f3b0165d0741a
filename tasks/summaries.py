"""Summaries of a comparison: a row for each arm on each data set."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median, stdev

from .paired import paired
from .runs import Record
from .task_card import TaskCard


def summary(rows: Sequence[Record], card: TaskCard) -> list[Record]:
    """Return for each data set and arm the mean score, its standard deviation, and the headline arm's lead over it.

    The lead is the mean over seeds of how much better the headline arm was on the same split, positive where it was
    better, with a 95% interval. Trials that failed are counted, and left out of all means.
    """
    rows = rows if card.derived is None else card.derived(rows)
    by_data: dict[str, dict[str, list[Record]]] = {}
    for row in rows:
        by_data.setdefault(row["data"], {}).setdefault(row["arm"], []).append(row)
    return [
        _row(data, arm, some, by_arm.get(card.headline, []), card)
        for data, by_arm in by_data.items()
        for arm, some in by_arm.items()
    ]


def _row(data: str, arm: str, rows: Sequence[Record], headline: Sequence[Record], card: TaskCard) -> Record:
    done = [row for row in rows if "error" not in row]
    scores = {row["seed"]: row["score"] for row in done}
    ours = {row["seed"]: row["score"] for row in headline if "error" not in row}
    sign = 1 if card.better == "higher" else -1
    shared = [sign * (ours[seed] - score) for seed, score in scores.items() if seed in ours]
    lead = paired(shared) if shared and arm != card.headline else None
    found: Record = {
        "data": data,
        "arm": arm,
        "seeds": len(scores),
        "failed": len(rows) - len(done),
        "mean": fmean(scores.values()) if scores else None,
        "sd": stdev(scores.values()) if len(scores) > 1 else None,
        "lead": lead and lead.mean,
        "low": lead and lead.low,
        "high": lead and lead.high,
    }
    for name in card.figures:
        values = [row[name] for row in done if row.get(name) is not None]
        found[name] = fmean(values) if values else None
    for name in ("seconds", "cpu seconds", "megabytes"):
        values = [row[name] for row in done if row.get(name) is not None]
        found[name] = round(median(values), 2) if values else None
    return found

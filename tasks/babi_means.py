"""Means over bAbI's tasks, as others report them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from .runs import Record
from .sweeps import best_rates

JOINT = "joint"
# Percent of wrong answers above which a task counts as failed.
FAILED = 5.0


def with_means(rows: Sequence[Record]) -> list[Record]:
    """Return each arm's trials at its best rate, and before them the mean over tasks learned apart.

    It is there of every seed, and, as others have reported it, of each task's best seed by validation.
    """
    found = best_rates(rows)
    apart = [row for row in found if row["data"] != JOINT]
    means: list[Record] = []
    for arm in dict.fromkeys(row["arm"] for row in apart):
        by_task: dict[str, list[Record]] = {}
        for row in apart:
            if row["arm"] == arm:
                by_task.setdefault(row["data"], []).append(row)
        # Seeds that not all tasks have yet would be means of other tasks.
        seeds = set.intersection(*({row["seed"] for row in some} for some in by_task.values()))
        for seed in sorted(seeds):
            some = [next(row for row in rows if row["seed"] == seed) for rows in by_task.values()]
            means.append(_mean(f"{len(by_task)} tasks apart", arm, seed, some))
        best = [max(some, key=lambda row: row["validation"]) for some in by_task.values()]
        means.append(_mean(f"{len(by_task)} tasks apart, each one's best seed", arm, 0, best))
    return [row for row in found if row["data"] == JOINT] + means + apart


def _mean(data: str, arm: str, seed: int, rows: Sequence[Record]) -> Record:
    return {
        "data": data,
        "arm": arm,
        "seed": seed,
        "score": fmean(row["score"] for row in rows),
        "tasks failed": sum(row["score"] > FAILED for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }

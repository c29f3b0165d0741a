"""Ranks of arms over many tables, whose scores have no common scale."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from scipy.stats import rankdata

from .runs import Record

ALL = "all tables"


def with_ranks(rows: Sequence[Record], measure: str) -> list[Record]:
    """Return the rows with each arm's rank on its table and split, and a row an arm and seed for all tables together.

    The best arm has rank 1; arms that failed share the last. The score over all tables is the share of rivals beaten,
    (arms − mean rank) / (arms − 1), so that more is better as it is on each table.

    Args:
        rows: Trials.
        measure: Arm whose fit seconds are the unit of `fit ratio`, the median over tables of how much longer an arm
            takes; where it was not run or failed there is none.
    """
    groups: dict[tuple[str, int], list[Record]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["seed"]), []).append(row)
    ranked = [one for group in groups.values() for one in _ranked(group, measure)]
    together: dict[tuple[str, int], list[Record]] = {}
    for row in ranked:
        together.setdefault((row["arm"], row["seed"]), []).append(row)
    return ranked + [_together(arm, seed, some) for (arm, seed), some in together.items()]


def _ranked(group: Sequence[Record], measure: str) -> list[Record]:
    ranks = rankdata([float("inf") if "error" in row else -row["score"] for row in group])
    unit = next((row["fit"] for row in group if row["arm"] == measure and "error" not in row), None)
    return [
        {
            **row,
            "rank": float(rank),
            "beaten": (len(group) - float(rank)) / max(1, len(group) - 1),
            "fit ratio": row["fit"] / unit if unit and "error" not in row else None,
        }
        for row, rank in zip(group, ranks, strict=True)
    ]


def _together(arm: str, seed: int, rows: Sequence[Record]) -> Record:
    ratios = [row["fit ratio"] for row in rows if row["fit ratio"] is not None]
    done = [row for row in rows if "error" not in row]
    return {
        "data": ALL,
        "arm": arm,
        "seed": seed,
        "score": fmean(row["beaten"] for row in rows),
        "rank": fmean(row["rank"] for row in rows),
        "failures": len(rows) - len(done),
        "fit ratio": median(ratios) if ratios else None,
        "fit": median(row["fit"] for row in done) if done else None,
        "predict": median(row["predict"] for row in done) if done else None,
        "seconds": sum(row["seconds"] for row in rows),
    }

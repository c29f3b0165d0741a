"""Arms trained at several learning rates: jobs side by side, and the best rate of each arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from .runs import Record, Run

# What is drawn for different purposes never comes from one generator.
TRAINING, VALIDATION, TEST = 1, 2, 3
# Kept on disk with the run, too long for a table.
CURVES = ("curve", "norms")


def sweep(
    this: Run,
    measure: Callable[[str, float, int, Path], Record],
    arms: Sequence[str],
    rates: Sequence[float],
    seeds: int,
    workers: int,
) -> list[Record]:
    """Train every arm at every rate with every seed, and return the best rate's row of each arm, then all rows.

    Args:
        this: Keeps what is done.
        measure: Trains one arm once and returns its row, with a key "validation": more is better; it is given the
            arm, the rate, the seed, and a file in which to keep its state. Must be possible to pickle.
        arms: Their names.
        rates: Learning rates.
        seeds: How many, from 0.
        workers: Processes.

    Raises:
        ValueError: If seeds is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1 (got {seeds})")
    keys = [(arm, rate, seed) for seed in range(seeds) for rate in rates for arm in arms]
    jobs = {
        f"{arm}, rate {rate:g}, seed {seed}": partial(
            _row, measure, arm, rate, seed, this.path.with_suffix(f".{number}.partial.pt")
        )
        for number, (arm, rate, seed) in enumerate(keys)
    }
    rows = this.parts(jobs, workers)
    shown = [{key: value for key, value in row.items() if key not in CURVES} for row in rows]
    return best_rates(shown) + shown


def best_rates(rows: Iterable[Record]) -> list[Record]:
    """Return a row an arm: at the rate of best mean validation, the means over seeds of all that differs."""
    by_arm: dict[str, dict[float, list[Record]]] = {}
    for row in rows:
        by_arm.setdefault(row["arm"], {}).setdefault(row["rate"], []).append(row)
    found: list[Record] = []
    for arm, by_rate in by_arm.items():
        best = max(by_rate.values(), key=lambda some: fmean(row["validation"] for row in some))
        means = {
            key: fmean(row[key] for row in best) if isinstance(value, float) else value
            for key, value in best[0].items()
        }
        found.append({**means, "arm": f"{arm}, best rate", "seed": None})
    return found


def generator(*numbers: int) -> torch.Generator:
    """Return a generator that these numbers decide, and no others share."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def _row(
    measure: Callable[[str, float, int, Path], Record], arm: str, rate: float, seed: int, checkpoint: Path
) -> list[Record]:
    return [measure(arm, rate, seed, checkpoint)]

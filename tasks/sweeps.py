"""Arms trained at several learning rates, and the best rate of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch

from .benchmark import Benchmark
from .comparison import compare, trials
from .ledger import Arm, Trial
from .runs import Record
from .summaries import summary

# What is drawn for different purposes never comes from one generator.
TRAINING, VALIDATION, TEST = 1, 2, 3
# What is no part of a result, or of one trial's alone, or of our arms alone.
APART = ("arms", "rates", "workers", "ours")

Training = Callable[[str, str, float, int, Path], Record]
"""Trains an arm once: on the named data, at a rate, with a seed; it may keep its state in the file."""


class SweepSettings(Protocol):
    """Sizes of a run, a dataclass. A field ``ours``, if there is one, is what our arms alone are made with."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of who learns; ours begin with "ressformer"."""
        ...

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates."""
        ...

    @property
    def workers(self) -> int:
        """Processes."""
        ...


def sweep(
    benchmark: Benchmark,
    measure: Training,
    data: Sequence[str],
    settings: SweepSettings,
    apart: Sequence[str] = (),
) -> list[Record]:
    """Train every arm at every rate on all data with every seed, and return the summary.

    Args:
        benchmark: Whose run it is; its card derives the best rates (`best_rates`) from all trainings.
        measure: Trains one arm once and returns its row, with a key "validation", by which a rate is chosen: more is
            better; and "scores" by name, those of the test. Must be possible to pickle.
        data: Names of what is learned.
        settings: Sizes of the run.
        apart: Fields of the settings on which no result depends, as those that say which data there is.

    Raises:
        ValueError: If there is less than one seed.
    """
    ways = {f"{arm}, rate {rate:g}": (arm, rate) for rate in settings.rates for arm in settings.arms}
    listed = [_arm(settings, name, arm, rate) for name, (arm, rate) in ways.items()]
    wanted = trials(data, list(ways), benchmark.seeds)
    ledger = benchmark.ledger(shared(settings, *apart), listed)
    jobs = {trial: (*ways[trial.arm], ledger.checkpoint(trial)) for trial in wanted}
    rows = compare(ledger, partial(_trained, measure, jobs), wanted, settings.workers)
    ledger.finish()
    return summary(rows, benchmark.card)


def shared(settings: Any, *apart: str) -> dict[str, Any]:
    """Return the fields of a dataclass that all results depend on: without `APART` and those named."""
    return {name: value for name, value in asdict(settings).items() if name not in (*APART, *apart)}


def best_rates(rows: Sequence[Record]) -> list[Record]:
    """Return each arm's trials at its rate of best mean validation, one for each of a trial's scores."""
    by_arm: dict[tuple[str, str], dict[float, list[Record]]] = {}
    for row in rows:
        arm = row["arm"].removesuffix(f", rate {row['rate']:g}")
        by_arm.setdefault((row["data"], arm), {}).setdefault(row["rate"], []).append(row)
    found: list[Record] = []
    for (data, arm), by_rate in by_arm.items():
        best = max(by_rate.values(), key=lambda some: fmean(row["validation"] for row in some))
        found += [
            {**row, "data": f"{data} {name}".strip(), "arm": arm, "score": score}
            for row in best
            for name, score in row["scores"].items()
        ]
    return found


def generator(*numbers: int) -> torch.Generator:
    """Return a generator that these numbers decide, and no others share."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def _arm(settings: Any, name: str, arm: str, rate: float) -> Arm:
    ours = arm.startswith("ressformer")
    made_with = asdict(settings).get("ours", {}) if ours else {}
    return Arm(name, ours, {"rate": rate, **made_with})


def _trained(measure: Training, jobs: Mapping[Trial, tuple[str, float, Path]], trial: Trial) -> Record:
    arm, rate, checkpoint = jobs[trial]
    return {"rate": rate, **measure(trial.data, arm, rate, trial.seed, checkpoint)}

"""Comparisons: every arm on the same data with the same seeds, timed, and kept when a run is cut short."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed

from .ledger import Ledger, Trial
from .peak_memory import PeakMemory
from .runs import Record
from .worker_pool import worker_pool

Measure = Callable[[Trial], Record]


def trials(data: Sequence[str], arms: Sequence[str], seeds: int) -> list[Trial]:
    """Return all trials, those of the first seed first: what is there when a run is cut short compares everyone.

    Raises:
        ValueError: If seeds is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1 (got {seeds})")
    return [Trial(name, arm, seed) for seed in range(seeds) for name in data for arm in arms]


def compare(
    ledger: Ledger, measure: Measure, wanted: Sequence[Trial], workers: int = 2, failures: bool = False
) -> list[Record]:
    """Return the results of all trials, in their order; those that are not in the ledger are measured now.

    Every result tells how long its trial took and how much memory it needed beyond what was there before.

    Args:
        ledger: Keeps the results.
        measure: Makes a trial and returns what it found; must be possible to pickle. It runs with as many threads as
            there are cores for each worker.
        wanted: The trials.
        workers: Processes; 0 measures in this one.
        failures: Whether a trial that raises is a result too, as its "error"; otherwise the error is raised.
    """
    missing = [trial for trial in wanted if trial not in ledger]
    if workers == 0:
        for trial in missing:
            ledger.put(trial, measured(measure, trial, failures))
    elif missing:
        with worker_pool(workers) as pool:
            running: dict[Future[Record], Trial] = {
                pool.submit(measured, measure, trial, failures): trial for trial in missing
            }
            try:
                for done in as_completed(running):
                    ledger.put(running[done], done.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [ledger[trial] for trial in wanted]


def measured(measure: Measure, trial: Trial, failures: bool) -> Record:
    """Return what a trial found, with its time and memory, the load of the machine and the date."""
    load, memory = os.getloadavg()[0], PeakMemory()
    started, worked = time.perf_counter(), time.process_time()
    try:
        found = measure(trial)
    except Exception as error:
        if not failures:
            raise
        found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu seconds": round(time.process_time() - worked, 3),
        "megabytes": memory.megabytes,
        "load": round(load, 2),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **found,  # what trained in more than one sitting knows its time better
    }

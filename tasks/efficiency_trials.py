"""Trials of the efficiency benchmark: arms on one case, their peak memory and their interleaved times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from structformer.ops import keep_freed_memory

from .efficiency_arms import Case
from .efficiency_records import Record, record
from .measure import Step, interleaved, medians
from .peak_memory import measures_memory, peak_megabytes

# Tokens of the step that warms a process up before its memory is measured.
SMALL = 64
KILLED = "left out: its process was killed, as happens for lack of memory"
NO_MEMORY = "memory is measured on Linux only"
NOT_MEASURED = "freed memory is kept"


@dataclass(frozen=True)
class Trial:
    """What is compared with what.

    Attributes:
        comparison: Its name in the records.
        build: Makes the step of an arm from the arm's name and the case; a function of a module.
        names: The arms; ratios are to the first.
        case: Their input.
        repeats: Timed calls of each arm, for each seed.
        kept: Whether times are those of a process that keeps the memory it frees; peak memory is then left out.
    """

    comparison: str
    build: Callable[[str, Case], Step]
    names: tuple[str, ...]
    case: Case
    repeats: int
    kept: bool = False


def measured(trials: Sequence[Trial], seeds: int) -> list[Record]:
    """Return one record an arm and trial.

    Memory comes first: an arm whose process was killed would take this process along, and is not timed.
    """
    jobs = [
        (trial.build, (name, _small(trial.case)), (name, trial.case))
        for trial in trials
        if not trial.kept
        for name in trial.names
    ]
    peaks = iter(peak_megabytes(jobs) if measures_memory() else [None] * len(jobs))
    records: list[Record] = []
    for trial in trials:
        memory = {name: None if trial.kept else next(peaks) for name in trial.names}
        records += _timed_records(trial, memory, seeds)
    return records


def median_times(trial: Trial, names: Sequence[str], seeds: int) -> dict[str, float]:
    """Return the median milliseconds of the named arms over the repeats of all seeds.

    Raises:
        OSError: If memory shall be kept and the allocator cannot be told so.
    """
    times: dict[str, list[float]] = {name: [] for name in names}
    if trial.kept and not keep_freed_memory():
        raise OSError("freed memory can be kept with glibc only")
    try:
        for seed in range(seeds):
            case = replace(trial.case, seed=seed)
            for name, found in interleaved(
                {name: trial.build(name, case) for name in names}, trial.repeats
            ).items():
                times[name] += found
    finally:
        if trial.kept:
            keep_freed_memory(False)
    return medians(times)


def _timed_records(trial: Trial, memory: dict[str, float | None], seeds: int) -> list[Record]:
    unknown = KILLED if measures_memory() else NO_MEMORY
    unknown = NOT_MEASURED if trial.kept else unknown
    notes = {name: unknown if memory[name] is None else "" for name in trial.names}
    times = median_times(trial, [name for name in trial.names if notes[name] != KILLED], seeds)
    base = times.get(trial.names[0])
    return [
        record(
            trial.comparison,
            name,
            trial.case.tokens,
            milliseconds=times.get(name),
            ratio=times[name] / base if base and name in times else None,
            megabytes=memory[name],
            note=notes[name],
        )
        for name in trial.names
    ]


def _small(case: Case) -> Case:
    return replace(case, tokens=max(SMALL, case.neighbors, 2 * case.set_size))

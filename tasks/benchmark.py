"""A run of a benchmark task as `structformer bench` asks for it: where its results lie, and by what they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .comparison import Measure, compare, trials
from .ledger import Arm, Ledger, Trial
from .runs import Record
from .summaries import summary
from .task_card import TaskCard


@dataclass(frozen=True)
class Benchmark:
    """A run of a task.

    Attributes:
        card: The task; its name is that of its module.
        quick: Whether it is the small version.
        seeds: How many.
        folder: Where results lie.
    """

    card: TaskCard
    quick: bool
    seeds: int
    folder: Path

    def ledger(self, settings: Mapping[str, Any], arms: Sequence[Arm], about: str = "") -> Ledger:
        """Return the file of results; ``about`` names one beside it, of what was tried on the way."""
        name = self.card.name
        return Ledger(
            self.folder / f"{name}{'-quick' if self.quick else ''}{about}.jsonl",
            f"{__package__}.{name}",
            f"structformer bench {name} {'--quick' if self.quick else '--full'} --seeds {self.seeds}",
            settings,
            arms,
        )

    def run(
        self,
        measure: Measure,
        wanted: Sequence[Trial],
        settings: Mapping[str, Any],
        arms: Sequence[Arm],
        workers: int,
        failures: bool = False,
    ) -> list[Record]:
        """Make all trials that are not in the file yet, and return their summary; see `compare` and `Ledger`."""
        ledger = self.ledger(settings, arms)
        rows = compare(ledger, measure, wanted, workers, failures)
        ledger.finish()
        return summary(rows, self.card)

    def judge(
        self,
        measure: Callable[[Any, Trial], Record],
        data: Sequence[str],
        settings: Any,
        arms: Mapping[str, Arm],
        shared: Mapping[str, Any],
    ) -> list[Record]:
        """Judge the arms that the settings name on all data, and return the summary of all trials.

        Args:
            measure: Makes a trial with the settings.
            data: Names of the data sets.
            settings: With `arms`, names of who is compared, and `workers`, how many processes.
            arms: By name.
            shared: What all results depend on; see `structformer.tasks.sweeps.shared`.

        Raises:
            ValueError: If there is less than one seed.
        """
        return self.run(
            partial(measure, settings),
            trials(data, settings.arms, self.seeds),
            shared,
            [arms[name] for name in settings.arms],
            settings.workers,
        )

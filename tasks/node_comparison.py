"""Comparisons in node classification: configurations are chosen on validation labels first, then all seeds are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import compare
from .ledger import Arm, Trial
from .node_arms import CONFIGURATIONS, Config, NodeArm
from .node_invariance import node_invariance
from .node_problem import Problem
from .runs import Record

Chosen = dict[str, dict[str, int]]
"""For each arm, and each data set, the number of the configuration."""


@dataclass(frozen=True)
class NodeSettings:
    """Sizes of the run.

    Attributes:
        data: Data sets.
        arms: Who is compared; those that a data set has.
        configurations: That each arm may choose among.
        tuning_seeds: Seeds over which the validation score that chooses is averaged.
        epochs: Most epochs of any arm; None leaves each its own.
        permutations: Orders of the nodes under which our predictions are compared.
        permuted_seeds: First seeds for which that is done; where predicting takes long, few tell enough.
        workers: Processes.
    """

    data: tuple[str, ...]
    arms: tuple[str, ...]
    configurations: int = CONFIGURATIONS
    tuning_seeds: int = 2
    epochs: int | None = None
    permutations: int = 5
    permuted_seeds: int = 1
    workers: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.configurations <= CONFIGURATIONS:
            raise ValueError(f"configurations must be from 1 to {CONFIGURATIONS} (got {self.configurations})")
        if self.tuning_seeds < 1:
            raise ValueError(f"tuning_seeds must be at least 1 (got {self.tuning_seeds})")
        if self.permutations < 0:
            raise ValueError(f"permutations must be at least 0 (got {self.permutations})")

    def shared(self) -> dict[str, Any]:
        """Return what the results of all arms depend on."""
        names = ("configurations", "tuning_seeds", "epochs", "permutations", "permuted_seeds")
        return {name: getattr(self, name) for name in names}

    def check(self, data: Sequence[str], arms: Sequence[str]) -> None:
        """Say which names are not known.

        Raises:
            ValueError: If a data set or an arm is not among those.
        """
        check_chosen(self, data=data, arms=arms)


@dataclass(frozen=True)
class NodeTask:
    """A task: its data, and who is compared on it.

    Attributes:
        problem: The nodes of a data set, split as a seed says.
        arms: Those of a data set.
        splits: Of data sets with fewer seeds, as those that come with their splits, how many.
    """

    problem: Callable[[str, int], Problem]
    arms: Callable[[str], Sequence[NodeArm]]
    splits: Mapping[str, int]

    def arm(self, data: str, name: str) -> NodeArm:
        """Return an arm of a data set by its name."""
        return next(arm for arm in self.arms(data) if arm.name == name)

    def wanted(self, settings: NodeSettings, seeds: int) -> list[Trial]:
        """Return all trials, those of the first seed first.

        Raises:
            ValueError: If seeds is below 1.
        """
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1 (got {seeds})")
        return [
            Trial(data, arm.name, seed)
            for seed in range(seeds)
            for data in settings.data
            if seed < self.splits.get(data, seeds)
            for arm in self.arms(data)
            if arm.name in settings.arms
        ]


def compare_nodes(benchmark: Benchmark, task: NodeTask, settings: NodeSettings) -> list[Record]:
    """Choose every arm's configurations, run all seeds with them, and return the rows.

    What was chosen lies beside the results, in `NAME-tuning.jsonl`.
    """
    wanted = task.wanted(settings, benchmark.seeds)
    chosen = _tuned(benchmark, task, settings, wanted)
    arms = {trial.arm: task.arm(trial.data, trial.arm) for trial in wanted}
    listed = [
        Arm(
            name,
            arm.ours,
            {data: task.arm(data, name).grid[number] for data, number in sorted(chosen[name].items())},
        )
        for name, arm in arms.items()
    ]
    ledger = benchmark.ledger(settings.shared(), listed)
    rows = compare(ledger, partial(final_trial, task, settings, chosen), wanted, settings.workers)
    ledger.finish()
    return rows


def _tuned(benchmark: Benchmark, task: NodeTask, settings: NodeSettings, wanted: Sequence[Trial]) -> Chosen:
    grids = {
        (trial.data, trial.arm): task.arm(trial.data, trial.arm).grid[: settings.configurations]
        for trial in wanted
    }
    listed: dict[str, Arm] = {}
    trials: list[Trial] = []
    for (data, name), grid in grids.items():
        for number, config in enumerate(grid if len(grid) > 1 else ()):
            # The same configuration may mean another thing on another data set: both are in the name.
            arm = Arm(f"{name} on {data}, {number}", task.arm(data, name).ours, config)
            listed[arm.name] = arm
            trials += [Trial(data, arm.name, seed) for seed in range(settings.tuning_seeds)]
    ledger = benchmark.ledger(settings.shared(), list(listed.values()), "-tuning")
    rows = compare(ledger, partial(validation_trial, task, settings), trials, settings.workers)
    ledger.finish()
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row["arm"], []).append(row["score"])
    chosen: Chosen = {}
    for (data, name), grid in grids.items():
        means = [fmean(scores.get(f"{name} on {data}, {number}", [0.0])) for number in range(len(grid))]
        chosen.setdefault(name, {})[data] = means.index(max(means))
    return chosen


def validation_trial(task: NodeTask, settings: NodeSettings, trial: Trial) -> Record:
    """Train one configuration of an arm, and score it on validation labels; answers are not looked at."""
    name, _, number = trial.arm.rpartition(", ")
    arm = task.arm(trial.data, name.removesuffix(f" on {trial.data}"))
    nodes = task.problem(trial.data, trial.seed).nodes
    predict = arm.fit(nodes, _capped(arm.grid[int(number)], settings.epochs), trial.seed)
    return {"score": nodes.validation(predict(nodes))}


def final_trial(task: NodeTask, settings: NodeSettings, chosen: Chosen, trial: Trial) -> Record:
    """Train an arm with its configuration, and score it on what is asked for."""
    arm = task.arm(trial.data, trial.arm)
    problem = task.problem(trial.data, trial.seed)
    number = chosen[trial.arm][trial.data]
    predict = arm.fit(problem.nodes, _capped(arm.grid[number], settings.epochs), trial.seed)
    scores = predict(problem.nodes)
    permuted = arm.ours and trial.seed < settings.permuted_seeds
    moved = node_invariance(problem, predict, settings.permutations, trial.seed) if permuted else {}
    return {
        "score": problem.score(scores),
        "validation": problem.nodes.validation(scores),
        "configuration": number,
        **moved,
    }


def _capped(config: Config, epochs: int | None) -> Config:
    if epochs is None or "epochs" not in config:
        return config
    return {**config, "epochs": min(epochs, config["epochs"])}

"""Mixed-type tables: numbers with gaps, categories, free text; everyone at their defaults, as a CPU user gets them.

Ten tables, each split 80/20 with every seed, classes with the same shares in both parts; at most so many of the
training rows are learned from, the same for all arms. Arms are compared by their ranks. What an arm holds out to stop
by comes out of its training rows; nobody sees the test part. An arm that fails on a table is counted, and ranks last.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import trials
from .ledger import Trial
from .mixed_tables_data import MADE_UP, REAL, split_table
from .mixed_tables_ranks import ALL, with_ranks
from .mixed_tables_scores import invariance, outputs, retrained, scores
from .runs import Record
from .table_peers import ARMS, arm, build
from .task_card import Published, TaskCard

RESULTS = Path(__file__).parent / "results"
# Of the published run.
SEEDS = 5
# Fit seconds are told as multiples of this arm's.
UNIT = "CatBoost"
_ELO = {
    "CatBoost": "1410",
    "TabM": "1329",
    "RealMLP": "1254",
    "XGBoost": "1234",
    "LightGBM": "1203",
    "random forest": "1000",
    "linear": "897",
}
CARD = TaskCard(
    name="mixed_tables",
    title="Mixed-type tables",
    family="tables",
    measure="ROC-AUC, R² where the target is a number, and over all tables the share of rivals beaten",
    headline="soes",
    protocol=(
        "Ten tables with numbers, categories and free text, 5 random splits 80/20 of each (stratified), at most "
        "10,000 training rows; every library at its defaults."
    ),
    figures={
        "rank": "mean rank",
        "accuracy": "accuracy",
        "log_loss": "log-loss",
        "rmse": "RMSE",
        "fit": "fit, s",
        "fit ratio": f"fit, times {UNIT}'s",
        "predict": "predict, s",
        "failures": "failures a seed",
        "changed": "predictions changed by shuffling",
        "largest": "largest change",
        "retrained": "changed by shuffling the training table",
    },
    published=tuple(
        Published(
            f"{method}, TabArena",
            {ALL: f"Elo {elo}"},
            "TabArena (arXiv 2506.16791)",
            "defaults, on 51 other tables" if method == "CatBoost" else "",
        )
        for method, elo in _ELO.items()
    ),
    derived=partial(with_ranks, measure=UNIT),
)


@dataclass(frozen=True)
class MixedTablesSettings:
    """Sizes of the run.

    Attributes:
        data: The tables.
        arms: Who is compared.
        options: Further settings of an arm by its name.
        rows: Most training rows.
        permutations: Times that test rows and columns are shuffled, with the first seed.
        shuffled_rows: Test rows that are.
        retrained_rows: Most training rows of a table on which, with the first seed, arms are trained again on the
            training table shuffled.
        workers: Processes; 0 measures in this one.
    """

    data: tuple[str, ...] = REAL
    arms: tuple[str, ...] = ARMS
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: int = 10_000
    permutations: int = 100
    shuffled_rows: int = 50
    retrained_rows: int = 1_200
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, data=(*REAL, *MADE_UP), arms=ARMS, options=self.arms)
        least = {"rows": 20, "permutations": 0, "shuffled_rows": 1, "retrained_rows": 0, "workers": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound} (got {getattr(self, name)})")


QUICK = MixedTablesSettings(
    data=tuple(MADE_UP),
    arms=("soes", "linear", "random forest", "HistGradientBoosting"),
    options={"soes": {"epochs": 15, "members": 1}},
    permutations=10,
    retrained_rows=0,
)


def run(
    quick: bool, seeds: int, settings: MixedTablesSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Compare all arms on all tables, keep the results in the folder, and return their summary with ranks.

    A run that was cut short is taken up where it ended.

    Raises:
        FileNotFoundError: If a table's file is missing.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else MixedTablesSettings())
    for name in settings.data:
        split_table(name, 0, settings.rows)  # a missing file is no arm's failure
    names = ("rows", "permutations", "shuffled_rows", "retrained_rows")
    wanted = trials(settings.data, settings.arms, seeds)
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        {name: value for name, value in asdict(settings).items() if name in names},
        [arm(name, settings.options.get(name)) for name in settings.arms],
        settings.workers,
        failures=True,
    )


def measure(settings: MixedTablesSettings, trial: Trial) -> Record:
    """Train one arm on one split, and return its scores, times, and what the order of rows and columns does."""
    split = split_table(trial.data, trial.seed, settings.rows)
    threads = torch.get_num_threads()
    one = arm(trial.arm, settings.options.get(trial.arm))
    make = partial(build, one, split.task, trial.seed, threads)
    # Histogram gradient boosting asks OpenMP how many threads there are.
    with threadpool_limits(threads):
        started = time.perf_counter()
        model = make().fit(split.train, split.train_target)
        fitted = time.perf_counter()
        found = outputs(model, split.test, split.task)
        predicted = time.perf_counter()
        record = {
            **scores(found, split),
            "fit": round(fitted - started, 3),
            "predict": round(predicted - fitted, 3),
        }
        if trial.seed == 0 and settings.permutations:
            record |= invariance(model, split, settings.permutations, settings.shuffled_rows, trial.seed)
        if trial.seed == 0 and len(split.train) <= settings.retrained_rows:
            record |= retrained(make, found, split, trial.seed)
    return record

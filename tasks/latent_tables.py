"""Latent graphs on plain tables: rows are classified from few labels, and no graph is given.

Wine, Breast Cancer and Digits of scikit-learn, with 10 or 50 labels to learn from. Features of all rows may be used
(but "ours, inductive" sees the labelled rows alone). Each arm chooses among as many configurations by its accuracy on
the validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from sklearn import datasets
from sklearn.preprocessing import scale
from torch import Tensor

from .benchmark import Benchmark
from .node_arms import NodeArm, knn_network, network, ours, ours_on_rows, rows_alone
from .node_comparison import NodeSettings, NodeTask, compare_nodes
from .node_problem import Problem
from .node_splits import stratified
from .runs import Record
from .summaries import summary
from .task_card import Published, TaskCard

RESULTS = Path(__file__).parent / "results"
# Of the published run.
SEEDS = 20
SIZES = {"wine": (10, 20), "cancer": (10, 20), "digits": (50, 100)}
"""Rows to learn from and to choose by."""

_OURS = ({}, {"neighbors": 5}, {"neighbors": 16}, {"dropout": 0.2})
_INDUCTIVE = ({}, {"row_neighbors": 8}, {"dropout": 0.3}, {"learning_rate": 5e-3})
ARMS: Sequence[NodeArm] = (
    ours("soes", *_OURS, epochs=100),
    ours("ressformer", *_OURS, epochs=100, model="ressformer"),
    ours_on_rows("soes, inductive", *_INDUCTIVE, epochs=100),
    ours_on_rows("ressformer, inductive", *_INDUCTIVE, epochs=100, model="ressformer"),
    knn_network(
        "kNN-GCN",
        *({"neighbors": neighbors} for neighbors in (10, 5, 15, 20)),
        epochs=500,
        hidden=64,
    ),
    network(
        "MLP",
        *({"hidden": hidden, "dropout": dropout} for dropout in (0.5, 0.2) for hidden in (64, 256)),
        kind="mlp",
        epochs=500,
    ),
    *rows_alone(),
)
CARD = TaskCard(
    name="latent_tables",
    title="Latent graphs on plain tables",
    family="nodes",
    measure="accuracy, %",
    headline="soes",
    protocol="Stratified splits of 10/20/148 (Wine), 10/20/539 (Cancer), 50/100/1647 (Digits) rows to learn from, to "
    "choose by, to be asked for. Wine and Cancer scaled on all rows, Digits raw. Each arm chooses among four "
    "configurations by mean validation accuracy over the first seeds.",
    figures={"changed": "changed by order, %", "largest": "largest change"},
    published=(
        Published(
            "logistic regression",
            {"wine": "92.1 ± 1.3", "cancer": "93.3 ± 0.5", "digits": "85.5 ± 1.5"},
            "HGLAT, table 1",
        ),
        Published(
            "random forest",
            {"wine": "93.7 ± 1.6", "cancer": "92.1 ± 1.7", "digits": "83.1 ± 2.6"},
            "HGLAT, table 1",
        ),
        Published(
            "kNN-GCN",
            {"wine": "93.2 ± 3.1", "cancer": "93.8 ± 1.4", "digits": "91.3 ± 0.5"},
            "LDS (Franceschi et al. 2019, arXiv 1903.11960)",
        ),
        Published(
            "LDS",
            {"wine": "97.3 ± 0.4", "cancer": "94.4 ± 1.9", "digits": "92.5 ± 0.7"},
            "Franceschi et al. 2019 (arXiv 1903.11960)",
        ),
        Published(
            "IDGL",
            {"wine": "98.1 ± 1.1", "cancer": "95.1 ± 1.0", "digits": "93.2 ± 0.9"},
            "as printed by SUBLIME (arXiv 2201.06367)",
        ),
        Published(
            "SLAPS",
            {"wine": "96.6 ± 0.4", "cancer": "96.6 ± 0.2", "digits": "94.4 ± 0.7"},
            "Fatemi et al. 2021 (arXiv 2102.05034)",
            "best variant of each column",
        ),
        Published(
            "SUBLIME",
            {"wine": "98.2 ± 1.6", "cancer": "97.2 ± 0.2", "digits": "94.3 ± 0.4"},
            "Liu et al. 2022 (arXiv 2201.06367), table 1",
        ),
    ),
)
QUICK = NodeSettings(
    data=("wine",),
    arms=("soes", "soes, inductive", "kNN-GCN", "label spreading", "random forest"),
    configurations=1,
    epochs=30,
)


def problem(data: str, seed: int) -> Problem:
    """Return the rows of a data set, split as a seed says."""
    x, y = _table(data)
    return Problem.of(x, y, stratified(y, *SIZES[data], seed))


def arms(data: str) -> Sequence[NodeArm]:
    """Return who is compared: the same on all data sets."""
    return ARMS


TASK = NodeTask(problem, arms, {})


def run(
    quick: bool, seeds: int, settings: NodeSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Compare all arms, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        ValueError: If seeds is below 1, or a data set or an arm is not known.
    """
    names = tuple(arm.name for arm in ARMS)
    # Over all data sets and seeds about 1,000 orders.
    full = NodeSettings(tuple(SIZES), names, permutations=17, permuted_seeds=SEEDS)
    settings = settings or (QUICK if quick else full)
    settings.check(tuple(SIZES), names)
    return summary(compare_nodes(Benchmark(CARD, quick, seeds, folder), TASK, settings), CARD)


@lru_cache
def _table(data: str) -> tuple[Tensor, Tensor]:
    load = {"wine": datasets.load_wine, "cancer": datasets.load_breast_cancer, "digits": datasets.load_digits}
    x, y = load[data](return_X_y=True)
    # As the papers' code does: features of all rows may be used, and digits stay as they are.
    x = x if data == "digits" else scale(x)
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.long)

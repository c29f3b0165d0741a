"""Node classification where neighbours often differ (Actor, Chameleon, Minesweeper), and in a graph of goods.

Actor, Chameleon (filtered) and Minesweeper come with 10 splits, which the seeds are; Minesweeper is scored by ROC-AUC.
Amazon Photo is split by each seed: 20 labels a class to learn from, 30 to choose by, the rest is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from structformer.datasets import amazon_photo, heterophilous
from torch_geometric.data import Data

from .benchmark import Benchmark
from .node_arms import NodeArm, network, ours
from .node_comparison import NodeSettings, NodeTask, compare_nodes
from .node_problem import Problem, Split
from .node_splits import labels_a_class
from .runs import Record
from .summaries import summary
from .task_card import Published, TaskCard

RESULTS = Path(__file__).parent / "results"
# Of the published run; data sets with 10 splits of their own have 10.
SEEDS = 20
PHOTO, MINESWEEPER = "amazon photo", "minesweeper"
SPLITS = {"actor": 10, "chameleon": 10, MINESWEEPER: 10}
DATA = (*SPLITS, PHOTO)

# The plain network; then with residual connections and normalisation, flat, deep, and with little dropout.
_NETWORK = (
    {"layers": 2, "weight_decay": 5e-4},
    {"residual": True, "layers": 2, "learning_rate": 3e-3},
    {"residual": True, "layers": 5, "learning_rate": 3e-3},
    {"residual": True, "layers": 5, "learning_rate": 3e-3, "dropout": 0.2},
)
_OURS = ({}, {"dropout": 0.2}, {"steps": 5}, {"steps": 5, "dropout": 0.2})
# As long for all.
_LENGTH = {"epochs": 300, "patience": 60}
_TRAINED = {**_LENGTH, "weight_decay": 0.0, "hidden": 64}
ARMS: Sequence[NodeArm] = (
    ours("soes, both", *_OURS, **_LENGTH),
    ours("soes, given", *_OURS, edges="given", **_LENGTH),
    ours("soes, learned", *_OURS, edges="learned", **_LENGTH),
    ours("ressformer, both", *_OURS, model="ressformer", **_LENGTH),
    network("GCN", *_NETWORK, kind="gcn", **_TRAINED),
    network("GAT", *_NETWORK, kind="gat", **_TRAINED),
    network("GraphSAGE", *_NETWORK, kind="sage", **_TRAINED),
    network("MLP", *_NETWORK, kind="mlp", **_TRAINED),
)
CARD = TaskCard(
    name="heterophilous",
    title="Node classification where neighbours differ",
    family="nodes",
    measure="accuracy, %; ROC-AUC, % for minesweeper",
    headline="soes, both",
    protocol="Actor, Chameleon (filtered), Minesweeper: their 10 splits. Amazon Photo: 20 labels a class to learn "
    "from, 30 to choose by. Each arm chooses among four configurations by its mean validation score on the first "
    "splits.",
    figures={"changed": "changed by order, %", "largest": "largest change"},
    published=tuple(
        Published(
            method,
            {"chameleon": chameleon, MINESWEEPER: minesweeper},
            "Platonov et al. 2023 (arXiv 2302.11640), tables 2 and 3",
            "512 features wide, up to 5 layers",
        )
        for method, chameleon, minesweeper in (
            ("GCN", "40.89 ± 4.12", "89.75 ± 0.52"),
            ("GraphSAGE", "37.77 ± 4.14", "93.51 ± 0.57"),
            ("GAT", "39.21 ± 3.08", "92.01 ± 0.68"),
            ("GAT-sep", "39.26 ± 2.50", "93.91 ± 0.35"),
        )
    ),
)
QUICK = NodeSettings(
    data=("chameleon",),
    arms=("soes, both", "soes, given", "GCN", "GraphSAGE"),
    configurations=1,
    epochs=20,
    permutations=1,
)


def problem(data: str, seed: int) -> Problem:
    """Return the nodes of a data set, split as a seed says."""
    graph = _graph(data)
    if data == PHOTO:
        return Problem.of(graph.x, graph.y, labels_a_class(graph.y, 20, 30, seed), graph.edge_index)
    split = Split(*(graph[f"{part}_mask"][:, seed] for part in ("train", "val", "test")))
    measure = "ROC-AUC" if data == MINESWEEPER else "accuracy"
    return Problem.of(graph.x, graph.y, split, graph.edge_index, measure)


def arms(data: str) -> Sequence[NodeArm]:
    """Return who is compared: the same on all data sets."""
    return ARMS


TASK = NodeTask(problem, arms, SPLITS)


def run(
    quick: bool, seeds: int, settings: NodeSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Compare all arms, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        FileNotFoundError: If a graph is not there.
        ValueError: If seeds is below 1, or a data set or an arm is not known.
    """
    names = tuple(arm.name for arm in ARMS)
    settings = settings or (QUICK if quick else NodeSettings(DATA, names))
    settings.check(DATA, names)
    return summary(compare_nodes(Benchmark(CARD, quick, seeds, folder), TASK, settings), CARD)


@lru_cache
def _graph(data: str) -> Data:
    return amazon_photo() if data == PHOTO else heterophilous(data)

"""Graph classification: MUTAG, PROTEINS, ENZYMES, ten folds, everything chosen inside the training folds.

Each fold is the test once; a tenth of the other nine, of each class alike, is held out to choose the epoch and the
settings by (Errica et al. 2020). Networks are of equal size and all arms try as many settings. Networks that use edges
also read degrees and return probabilities of walks, as our estimators do; those without edges read the nodes' features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from structformer.datasets import tu_graphs
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import trials
from .graph_arms import FIGURES, NAMES, OURS, Sizes, arms, judged
from .graph_problems import Budget, Graphs, GraphSplit, Point, held_out
from .ledger import Trial
from .runs import Record
from .task_card import Published, TaskCard

RESULTS = Path(__file__).parent / "results"
# The folds, each the test once.
SEEDS = FOLDS = 10
SMALL_WORLDS = "small worlds"
DATA = ("MUTAG", "PROTEINS", "ENZYMES")
HELD = 0.1
ERRICA = "Errica et al. 2020, arXiv 1912.09893, table 3"
MEASURED = "on ENZYMES its nodes carried 18 measurements besides their kind, which our files lack"
CARD = TaskCard(
    name="graph_classification",
    title="Graph classification",
    family="graphs",
    measure="accuracy, %",
    headline=OURS,
    protocol="Ten folds that come with the data, each the test once ('seeds' are folds); a tenth of the other nine is "
    "held out, and the epoch (by loss) and the settings (by accuracy) are chosen there. Networks have equally many "
    "parameters within 5%, and every arm tries equally many settings. Networks that use edges read degrees and walks "
    "too, except 'plain features'; 'set transformer', 'deepsets' and 'sum of features' see no edges.",
    figures=FIGURES,
    published=(
        Published("GIN", {"PROTEINS": "73.3±4.0", "ENZYMES": "59.6±4.5"}, ERRICA, MEASURED),
        Published("GraphSAGE", {"PROTEINS": "73.0±4.5", "ENZYMES": "58.2±6.0"}, ERRICA, MEASURED),
        Published("DGCNN", {"PROTEINS": "72.9±3.5", "ENZYMES": "38.9±5.7"}, ERRICA, MEASURED),
        Published(
            "structure-free baseline", {"PROTEINS": "75.8±3.7", "ENZYMES": "65.2±6.4"}, ERRICA, MEASURED
        ),
    ),
)


# Fingerprints are of molecules; folds are many, and GCN and GIN stand for GraphSAGE too.
LEFT_OUT = ("graphsage", "random forest, fingerprints")
# Of a GraphClassifier as it comes; without edges to walk along it is smaller.
PARAMETERS = 157_000
SIZES: Sizes = {
    "structformer, learned graph": {"width": 76},
    "ressformer": {"width": 52},
}


@dataclass(frozen=True)
class GraphClassificationSettings:
    """Sizes of the run.

    Attributes:
        data: Of `DATA`, or "small worlds", drawn graphs that need no download.
        arms: Which are compared.
        budget: What every arm may use.
        sizes: Options of our arms by which they are as large as the first of them.
        graphs: Of each class that are drawn for "small worlds".
        permutations: Of test graphs in a trial.
        workers: Processes.
    """

    data: tuple[str, ...] = DATA
    arms: tuple[str, ...] = tuple(name for name in NAMES if name not in LEFT_OUT)
    budget: Budget = field(
        default_factory=lambda: Budget(
            epochs=50,
            patience=10,
            batch=32,
            parameters=PARAMETERS,
            grid=(Point(3e-3, 0.0), Point(1e-3, 0.0)),
        )
    )
    sizes: Sizes = field(default_factory=lambda: SIZES)
    graphs: int = 60
    permutations: int = 100
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, data=(*DATA, SMALL_WORLDS), arms=NAMES)
        for name in ("graphs", "permutations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")


QUICK = GraphClassificationSettings(
    data=(SMALL_WORLDS,),
    arms=(OURS, "gin", "deepsets"),
    budget=Budget(epochs=20, patience=10, batch=16, parameters=PARAMETERS, grid=(Point(3e-3, 0.0),)),
    graphs=40,
)


def run(
    quick: bool, seeds: int, settings: GraphClassificationSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms on the first folds, write the results to the folder, and return a row for each arm and data set.

    Raises:
        FileNotFoundError: If a data set was not downloaded.
        ValueError: If seeds is below 1 or above 10.
    """
    if seeds > FOLDS:
        raise ValueError(f"seeds are folds here, at most {FOLDS} (got {seeds})")
    settings = settings or (QUICK if quick else GraphClassificationSettings())
    wanted = trials(settings.data, settings.arms, seeds)
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        {
            "budget": asdict(settings.budget),
            "graphs": settings.graphs,
            "permutations": settings.permutations,
            "held": HELD,
        },
        arms(settings.arms, settings.sizes),
        settings.workers,
    )


def measure(settings: GraphClassificationSettings, trial: Trial) -> Record:
    """Train an arm on all folds but one, and judge it by that one."""
    split = fold_split(*collection(trial.data, settings.graphs), trial.seed)
    return judged(trial.arm, split, settings.budget, settings.sizes, trial.seed, settings.permutations)


def fold_split(graphs: Graphs, folds: tuple[np.ndarray, ...], fold: int) -> GraphSplit:
    """Return a fold as the test, and the other graphs with a tenth of each class held out."""
    test = folds[fold]
    rest = np.setdiff1d(np.arange(len(graphs)), test)
    kept, held = held_out(rest, graphs.target[rest], HELD, fold)
    return GraphSplit(graphs.take(kept), graphs.take(held), graphs.take(test), "accuracy")


@lru_cache
def collection(name: str, size: int) -> tuple[Graphs, tuple[np.ndarray, ...]]:
    """Return the graphs of a data set, and its folds; ``size`` graphs a class where they are drawn."""
    if name == SMALL_WORLDS:
        return small_worlds(size)
    found = tu_graphs(name)
    target = torch.cat([graph.y for graph in found.graphs]).numpy()
    return Graphs(tuple(found.graphs), target), tuple(fold.numpy() for fold in found.folds)


def small_worlds(size: int, nodes: int = 20) -> tuple[Graphs, tuple[np.ndarray, ...]]:
    """Return rings with a few rewired edges (Watts and Strogatz 1998), and random graphs with equally many edges."""
    drawn = [
        nx.watts_strogatz_graph(nodes, 4, 0.2, seed=number)
        if label
        else nx.gnm_random_graph(nodes, 2 * nodes, seed=number)
        for label in (0, 1)
        for number in range(size)
    ]
    target = np.repeat([0, 1], size)
    graphs = tuple(_without_features(graph) for graph in drawn)
    parts = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(target, target)
    return Graphs(graphs, target), tuple(test for _, test in parts)


def _without_features(graph: nx.Graph) -> Data:
    data = from_networkx(graph)
    return Data(x=torch.ones(len(graph), 1), edge_index=data.edge_index)

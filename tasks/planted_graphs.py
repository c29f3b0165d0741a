"""Planted graphs: data made from a graph that is known; does the learned graph find it again?

Encoders learn without labels from what rows hold (`GraphEncoder`), or from what columns tell of each other
(`TableEncoder`). Beside them stand the k nearest rows by standardised features, or the k most correlated columns, with
as many neighbours, and random graphs. See `structformer.inspect.planted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from structformer.estimators import GraphEncoder, TableEncoder
from structformer.graph import TokenGraph
from structformer.inspect import edge_agreement
from structformer.inspect.planted import BEDS, Planted
from structformer.models.choice import ModelName

from .benchmark import Benchmark
from .choices import check_chosen
from .ledger import Arm, Trial
from .runs import Record
from .task_card import TaskCard

RESULTS = Path(__file__).parent / "results"
SEEDS = 5
NEIGHBORS = 16

ARMS = {
    arm.name: arm
    for arm in (
        Arm("soes", True, {"model": "soes"}),
        Arm("ressformer", True, {"model": "ressformer"}),
        Arm("kNN"),
        Arm("random"),
    )
}
CARD = TaskCard(
    name="planted_graphs",
    title="Planted graphs",
    family="inspection",
    measure="ROC-AUC of the learned weights over all pairs, %",
    headline="soes",
    protocol=f"No labels. All graphs have {NEIGHBORS} neighbours a token (8 a column), both directions of a pair "
    "counting as one. No hyper-parameter is chosen.",
    figures={
        "precision": "average precision, %",
        "recall": "true pairs joined, %",
        "chance": "true pairs among all, %",
    },
)


@dataclass(frozen=True)
class PlantedSettings:
    """Sizes of the run.

    Attributes:
        data: Kinds of planted graphs.
        arms: Which are compared.
        epochs: Of training; None is as the estimators choose.
        workers: Processes.
    """

    data: tuple[str, ...] = tuple(BEDS)
    arms: tuple[str, ...] = tuple(ARMS)
    epochs: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, data=BEDS)


QUICK = PlantedSettings(data=("blocks", "tree"), arms=("soes", "kNN", "random"), epochs=10)


def run(
    quick: bool, seeds: int, settings: PlantedSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Learn all graphs, write the results to the folder, and return a row a bed and arm.

    Raises:
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else PlantedSettings())
    shared = {"epochs": settings.epochs, "neighbors": NEIGHBORS}
    return Benchmark(CARD, quick, seeds, folder).judge(measure, settings.data, settings, ARMS, shared)


def measure(settings: PlantedSettings, trial: Trial) -> Record:
    """Learn one graph and compare it with the true one."""
    planted = BEDS[trial.data](trial.seed)
    graph = {"kNN": nearest, "random": partial(random, trial.seed)}.get(
        trial.arm, partial(learned, ARMS[trial.arm].options.get("model", "soes"), settings.epochs, trial.seed)
    )(planted)
    found = edge_agreement(graph, planted.truth).iloc[-1]
    return {
        "score": 100 * found.roc_auc,
        "precision": 100 * found.average_precision,
        "recall": 100 * found.recall,
        "chance": 100 * found.chance,
    }


def learned(model: ModelName, epochs: int | None, seed: int, planted: Planted) -> TokenGraph:
    """Return the graph that an encoder learns over rows or columns."""
    if planted.kind == "columns":
        encoder = TableEncoder(model=model, epochs=epochs, random_state=seed, verbose=False)
        weights = encoder.fit(planted.frame).column_graph(planted.frame)
        return TokenGraph.from_scipy(csr_matrix(weights.to_numpy()), names=list(weights.columns))
    nodes = planted.nodes
    encoder = GraphEncoder(model=model, neighbors=NEIGHBORS, epochs=epochs, random_state=seed, verbose=False)
    graph = encoder.fit(nodes).learned_graph(nodes)
    graph.names = planted.truth.names
    return graph


def nearest(planted: Planted) -> TokenGraph:
    """Return the graph of the nearest rows, or of the most correlated columns, weighed by likeness."""
    x = planted.frame.to_numpy()
    x = (x - x.mean(0)) / x.std(0)
    if planted.kind == "columns":
        likeness = np.abs(np.corrcoef(x.T))
    else:
        likeness = 1 / (1 + cdist(x, x))  # small enough to hold: some hundred rows
    np.fill_diagonal(likeness, -1)
    return _strongest(likeness, planted)


def random(seed: int, planted: Planted) -> TokenGraph:
    """Return a random graph with as many neighbours and random weights."""
    tokens = planted.truth.num_tokens
    likeness = np.random.default_rng(seed).random((tokens, tokens))
    np.fill_diagonal(likeness, -1)
    return _strongest(likeness, planted)


def _strongest(likeness: np.ndarray, planted: Planted) -> TokenGraph:
    tokens = len(likeness)
    k = min(NEIGHBORS if planted.kind != "columns" else 8, tokens - 1)
    sources = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
    index = torch.tensor(np.stack([sources.ravel(), np.repeat(np.arange(tokens), k)]))
    weight = torch.from_numpy(np.take_along_axis(likeness, sources, 1).ravel())
    names: Sequence[str] | None = planted.truth.names
    return TokenGraph.from_edge_index(index, tokens, weight, names=names)

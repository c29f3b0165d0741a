"""Node classification in citation graphs: public split, a random class-balanced split, and no graph given.

"cora, public" is the Planetoid split that most papers use; "cora, random split" the class-balanced one of seed 123 by
which NodeFormer and SGFormer are measured; "cora, no graph" the public split with the edges taken away. Splits stay the
same for all seeds, which decide first weights and dropout. Figures of different protocols are never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from structformer.datasets import planetoid
from torch_geometric.data import Data

from .benchmark import Benchmark
from .node_arms import NodeArm, knn_network, network, ours, propagation, rows_alone
from .node_comparison import NodeSettings, NodeTask, compare_nodes
from .node_problem import Problem, Split
from .node_splits import class_balanced
from .planetoid_card import CARD
from .runs import Record
from .summaries import summary

RESULTS = Path(__file__).parent / "results"
# Of the published run.
SEEDS = 10
GRAPHS = ("cora", "citeseer", "pubmed")
PUBLIC, RANDOM, NO_GRAPH = "public", "random split", "no graph"
DATA = tuple(f"{graph}, {protocol}" for protocol in (PUBLIC, RANDOM, NO_GRAPH) for graph in GRAPHS)

# As published, and with more dropout and width, as in Luo et al. 2024.
_NETWORK = ({"hidden": 16}, {"hidden": 64, "dropout": 0.8}, {"hidden": 64}, {"hidden": 256, "dropout": 0.8})
_GAT = (
    {"weight_decay": 5e-4},
    {"weight_decay": 1e-3, "last_heads": 8},
    {"weight_decay": 2e-3},
    {"weight_decay": 5e-4, "last_heads": 8},
)
_OURS = ({}, {"steps": 1}, {"dropout": 0.7}, {"width": 128})
# Where no edges are given, how many to find is what there is to choose, as for kNN-GCN.
_OURS_ALONE = ({}, {"neighbors": 16}, {"neighbors": 32}, {"neighbors": 16, "dropout": 0.7})
_TRAINED = {"epochs": 300, "patience": 60, "row_normalized": True}
WITH_GRAPH: Sequence[NodeArm] = (
    ours("soes, both", *_OURS, epochs=100),
    ours("soes, given", *_OURS, epochs=100, edges="given"),
    ours("ressformer, both", *_OURS, epochs=100, model="ressformer"),
    network("GCN", *_NETWORK, kind="gcn", **_TRAINED),
    network("GAT", *_GAT, kind="gat", dropout=0.6, learning_rate=0.005, **_TRAINED),
    network("GraphSAGE", *_NETWORK, kind="sage", **_TRAINED),
    propagation(),
)
WITHOUT_GRAPH: Sequence[NodeArm] = (
    ours("soes, both", *_OURS_ALONE, epochs=100),
    ours("ressformer, both", *_OURS_ALONE, epochs=100, model="ressformer"),
    knn_network("kNN-GCN", *({"neighbors": k} for k in (10, 5, 15, 20)), hidden=64, **_TRAINED),
    *rows_alone(),
    network("MLP", *_NETWORK, kind="mlp", **_TRAINED),
)
# PubMed is seven times as large as Cora: its arms choose among fewer. The random split has fewer seeds.
FEWER = 2
SPLITS = {f"{graph}, {RANDOM}": 5 for graph in GRAPHS}
QUICK = NodeSettings(
    data=("cora, public", "cora, no graph"),
    arms=("soes, both", "GCN", "kNN-GCN"),
    configurations=1,
    epochs=10,
    permutations=1,
)


def problem(data: str, seed: int) -> Problem:
    """Return the nodes of a graph, split as its protocol says, whatever the seed."""
    name, _, protocol = data.partition(", ")
    graph = _graph(name)
    split = Split(graph.train_mask, graph.val_mask, graph.test_mask)
    if protocol == RANDOM:
        split = class_balanced(graph.y, each=20, val=500, test=1_000, seed=123)
    found = Problem.of(graph.x, graph.y, split, graph.edge_index)
    return replace(found, nodes=found.nodes.without_edges()) if protocol == NO_GRAPH else found


def arms(data: str) -> Sequence[NodeArm]:
    """Return who is compared on a data set."""
    listed = WITHOUT_GRAPH if data.endswith(NO_GRAPH) else WITH_GRAPH
    if data.startswith("pubmed"):
        return [replace(arm, grid=arm.grid[:FEWER]) for arm in listed]
    return listed


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
    names = tuple(dict.fromkeys(arm.name for arm in (*WITH_GRAPH, *WITHOUT_GRAPH)))
    settings = settings or (QUICK if quick else NodeSettings(DATA, names, tuning_seeds=1))
    settings.check(DATA, names)
    return summary(compare_nodes(Benchmark(CARD, quick, seeds, folder), TASK, settings), CARD)


@lru_cache
def _graph(name: str) -> Data:
    return planetoid(name)

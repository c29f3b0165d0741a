"""Faithful graphs: do predictions hang on the edges that a picture of the learned graph shows as strong?

A fifth of the edges is taken out of the learned graph of a fitted estimator: the strongest as pictures show them, by
their support of the prediction; as many at random; those of the largest weights, or of the largest gradients. See
`structformer.inspect.faithfulness`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from structformer.datasets import mixed_table, planetoid
from torch_geometric.data import Data

from structformer.estimators import NodeClassifier, StructFormerClassifier
from structformer.inspect import faithfulness
from structformer.inspect.attribution import Explainable
from structformer.models.choice import ModelName

from . import latent_tables
from .benchmark import Benchmark
from .choices import check_chosen
from .ledger import Arm, Trial
from .runs import Record
from .task_card import TaskCard

RESULTS = Path(__file__).parent / "results"
SEEDS = 3
SHARE = 0.2

ARMS = {model: Arm(model, True, {"model": model}) for model in ("soes", "ressformer")}
CARD = TaskCard(
    name="faithful_graphs",
    title="Faithful graphs",
    family="inspection",
    measure="change of predictions without the strongest fifth of the edges, over that without a random fifth",
    headline="soes",
    protocol="Digits: all images are nodes, 50 labels known, no edges given. Cora: the public split, given and learned "
    "edges. Credit data: 1,500 rows, the predictions of 450 new ones, whose graph is that to training rows. The "
    "change is the mean total variation distance of the class probabilities.",
    figures={
        "weight": "the same by weight",
        "gradient": "the same by gradient",
        "kept": "without the others, over random",
        "change": "change, strongest",
        "random": "change, random",
        "flipped": "predictions flipped, %",
        "effective degree": "effective degree",
        "degree": "degree",
    },
)


@dataclass(frozen=True)
class FaithfulSettings:
    """Sizes of the run.

    Attributes:
        data: Data sets.
        arms: Models.
        epochs: Of training; None is as the estimators choose.
        workers: Processes.
    """

    data: tuple[str, ...] = ("digits", "cora", "credit_data")
    arms: tuple[str, ...] = tuple(ARMS)
    epochs: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, data=DATA)


def run(
    quick: bool, seeds: int, settings: FaithfulSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Fit all models, look at their graphs, write the results to the folder, and return a row a data set and model.

    Raises:
        FileNotFoundError: If a data set was not downloaded.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else FaithfulSettings())
    shared = {"epochs": settings.epochs, "share": SHARE}
    return Benchmark(CARD, quick, seeds, folder).judge(measure, settings.data, settings, ARMS, shared)


def measure(settings: FaithfulSettings, trial: Trial) -> Record:
    """Fit one model and take edges out of its graph."""
    model, asked = DATA[trial.data](trial.arm, settings.epochs, trial.seed)
    graph, found = (
        model.learned_graph(asked, support=False),
        faithfulness(model, asked, share=SHARE, seed=trial.seed),
    )
    return {
        "score": float(found.ratio["strongest"]),
        "weight": float(found.ratio["by weight"]),
        "gradient": float(found.ratio["by gradient"]),
        "kept": float(found.ratio["all but strongest"]),
        "change": float(found.change["strongest"]),
        "random": float(found.change["random"]),
        "flipped": 100 * float(found.flipped["strongest"]),
        "effective degree": float(graph.effective_degree().mean()),
        "degree": graph.num_edges / graph.num_targets,
    }


def digits(model: ModelName, epochs: int | None, seed: int) -> tuple[Explainable, Any]:
    """Return a model of the images of digits, and these."""
    nodes = latent_tables.problem("digits", seed).nodes
    data = Data(x=nodes.x, num_nodes=len(nodes.x))
    given = {} if epochs is None else {"epochs": epochs}
    fitted = NodeClassifier(model=model, random_state=seed, verbose=False, **given)
    return fitted.fit(data, nodes.labels, nodes.train.numpy(), nodes.val.numpy()), data


def cora(model: ModelName, epochs: int | None, seed: int) -> tuple[Explainable, Any]:
    """Return a model of the papers of Cora, and these."""
    data = planetoid("cora")
    given = {} if epochs is None else {"epochs": epochs}
    fitted = NodeClassifier(model=model, random_state=seed, verbose=False, **given)
    return fitted.fit(data, eval_mask=data.val_mask.numpy()), data


def credit(model: ModelName, epochs: int | None, seed: int) -> tuple[Explainable, Any]:
    """Return a model of a mixed table, and new rows."""
    table = mixed_table("credit_data")
    some = np.random.default_rng(seed).permutation(len(table.frame))[:1_500]
    X, y = table.frame.iloc[some], table.target.iloc[some]
    known, new, target, _ = train_test_split(X, y, test_size=0.3, random_state=seed)
    return StructFormerClassifier(model=model, epochs=epochs, random_state=seed, verbose=False).fit(
        known, target
    ), new


DATA: dict[str, Callable[[ModelName, int | None, int], tuple[Explainable, Any]]] = {
    "digits": digits,
    "cora": cora,
    "credit_data": credit,
}
QUICK = FaithfulSettings(data=("digits",), arms=("soes",), epochs=20)

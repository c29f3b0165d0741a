"""Arms that tell one thing of a whole graph: our estimators, networks of torch_geometric, forests; and how they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.metrics import root_mean_squared_error
from torch_geometric.data import Data

from structformer.estimators import GraphClassifier, GraphRegressor

from .baselines.graph_forest import counts, fingerprint, trained_forests
from .baselines.graph_networks import GPS, MessagePassing
from .baselines.graph_sets import DeepSets, FeatureSums, SetTransformer
from .baselines.graph_sizes import num_parameters
from .baselines.graph_training import trained_networks
from .graph_problems import Budget, Fitted, GraphSplit, invariance, score
from .ledger import Arm
from .runs import Record
from .sweeps import TEST, generator

Candidates = Callable[[GraphSplit, Budget, int], Iterator[Fitted]]
OURS = "structformer"


@dataclass(frozen=True)
class OurArm:
    """`GraphClassifier` or `GraphRegressor` as a user gets it.

    Attributes:
        edges: Whether it is shown the graphs' edges; without them it has the graph that it learns, and no other.
        options: Of the estimator.
    """

    edges: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, split: GraphSplit, budget: Budget, seed: int) -> Iterator[Fitted]:
        """Train it with each of the settings of the grid."""
        kind = GraphRegressor if split.measure == "r2" else GraphClassifier
        held = self._shown(split.validation.graphs), split.validation.target
        for point in budget.grid:
            estimator = kind(
                epochs=budget.epochs,
                patience=budget.patience,
                batch_size=budget.batch,
                random_state=seed,
                verbose=False,
                **asdict(point),
                **self.options,
            )
            estimator.fit(self._shown(split.train.graphs), split.train.target, eval_set=held)
            assert estimator.history_ is not None
            yield Fitted(
                partial(self._predict, estimator),
                num_parameters(estimator.model_),
                estimator.history_.best,
                asdict(point),
            )

    def _predict(
        self, estimator: GraphClassifier | GraphRegressor, graphs: Sequence[Data]
    ) -> Float[np.ndarray, "graphs outputs"]:
        seen = self._shown(graphs)
        if isinstance(estimator, GraphRegressor):
            return estimator.predict(seen)[:, None]
        return np.asarray(estimator.predict_proba(seen))

    def _shown(self, graphs: Sequence[Data]) -> list[Data]:
        return list(graphs) if self.edges else [Data(x=graph.x) for graph in graphs]


OUR_ARMS: dict[str, OurArm] = {
    OURS: OurArm(),
    "structformer, given graph": OurArm(options={"model_options": {"learn": False}}),
    "structformer, learned graph": OurArm(edges=False),
    "ressformer": OurArm(options={"model": "ressformer"}),
}
RIVALS: dict[str, Candidates] = {
    **{
        name: partial(trained_networks, partial(MessagePassing, name), True)
        for name in ("gin", "gcn", "graphsage")
    },
    "gps": partial(trained_networks, GPS, True),
    "gin, plain features": partial(trained_networks, partial(MessagePassing, "gin"), False),
    "set transformer": partial(trained_networks, SetTransformer, False),
    "deepsets": partial(trained_networks, DeepSets, False),
    "sum of features": partial(trained_networks, FeatureSums, False),
    "random forest, counts": partial(trained_forests, counts),
    "random forest, fingerprints": partial(trained_forests, fingerprint),
}
NAMES = (*OUR_ARMS, *RIVALS)
FIGURES = {
    "validation": "validation",
    "changed": "predictions changed by the order of nodes, %",
    "largest change": "largest change of a probability or number",
    "parameters": "parameters",
    "epochs": "epochs",
}


Sizes = Mapping[str, Mapping[str, int]]


def our_arm(name: str, sizes: Sizes) -> OurArm:
    """Return one of our arms, with the options by which it is made as large as the others."""
    arm = OUR_ARMS[name]
    return replace(arm, options={**arm.options, **sizes.get(name, {})})


def arms(names: Sequence[str], sizes: Sizes) -> list[Arm]:
    """Return the arms of these names, as the ledger wants them."""
    ours = {name: asdict(our_arm(name, sizes)) for name in names if name in OUR_ARMS}
    return [Arm(name, name in ours, ours.get(name, {})) for name in names]


def judged(
    name: str, split: GraphSplit, budget: Budget, sizes: Sizes, seed: int, permutations: int
) -> Record:
    """Train an arm with all settings, and return how the best of them by validation score does on the test graphs.

    Args:
        name: The arm's.
        split: The graphs.
        budget: What may be used.
        sizes: Of our arms.
        seed: Decides all that is drawn.
        permutations: Of test graphs, to see whether predictions change.
    """
    train = our_arm(name, sizes) if name in OUR_ARMS else RIVALS[name]

    def reached(fitted: Fitted) -> float:
        return score(split.measure, fitted.predict(split.validation.graphs), split.validation.target)

    by_validation = [(reached(fitted), fitted) for fitted in train(split, budget, seed)]
    validation, best = max(by_validation, key=lambda pair: pair[0])
    found = best.predict(split.test.graphs)
    changed, largest = invariance(best.predict, split.test.graphs, permutations, generator(TEST, seed))
    record: Record = {
        "score": score(split.measure, found, split.test.target),
        "validation": validation,
        "changed": changed,
        "largest change": largest,
        "parameters": best.parameters,
        "epochs": best.epochs,
        "settings": dict(best.settings),
    }
    if split.measure == "r2":
        record["rmse"] = float(root_mean_squared_error(split.test.target, found[:, 0]))
    return record

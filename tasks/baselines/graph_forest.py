"""Random forests over graphs: on what can be counted, or on fingerprints of molecules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch_geometric.data import Data
from torch_geometric.utils import degree

from ..graph_problems import Budget, Fitted, GraphSplit

Vector = Callable[[Data], Float[np.ndarray, "features"]]
TREES = 300
# What is tried, in this order, as many as other arms try settings.
GRID: tuple[dict[str, Any], ...] = (
    {},
    {"max_features": 0.3, "min_samples_leaf": 2},
    {"min_samples_leaf": 5},
    {"max_features": 0.3},
)
MOST_DEGREE = 8
RADIUS, BITS = 2, 2048


def trained_forests(vector: Vector, split: GraphSplit, budget: Budget, seed: int) -> Iterator[Fitted]:
    """Train scikit-learn's forest with as many settings as the budget's grid has.

    Args:
        vector: Makes a vector of a graph.
        split: The graphs; the training part alone is looked at.
        budget: How many settings.
        seed: Of the forest.

    Raises:
        ValueError: If the grid has more points than forests have settings.
    """
    if len(budget.grid) > len(GRID):
        raise ValueError(f"grid must hold at most {len(GRID)} points (got {len(budget.grid)})")
    x = np.stack([vector(graph) for graph in split.train.graphs])
    kind = RandomForestRegressor if split.measure == "r2" else RandomForestClassifier
    for settings in GRID[: len(budget.grid)]:
        forest = kind(TREES, n_jobs=torch.get_num_threads(), random_state=seed, **settings)
        forest.fit(x, split.train.target)
        yield Fitted(partial(_predict, forest, vector), None, None, settings)


def counts(graph: Data) -> Float[np.ndarray, "features"]:
    """Return sums of the nodes' features, numbers of nodes and edges, and of nodes of each degree."""
    assert graph.x is not None
    assert graph.edge_index is not None
    degrees = degree(graph.edge_index[1], len(graph.x)).long().clamp(max=MOST_DEGREE)
    found = [
        graph.x.sum(0),
        torch.tensor([len(graph.x), graph.edge_index.shape[1]]),
        torch.bincount(degrees, minlength=MOST_DEGREE + 1),
    ]
    return torch.cat(found).numpy().astype(np.float32)


def fingerprint(graph: Data) -> Float[np.ndarray, "features"]:
    """Return how often each Morgan fragment up to two bonds around an atom is there (folded to 2,048 counts)."""
    from rdkit import Chem
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    found = generator.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(graph.smiles))
    return found.astype(np.float32)


def _predict(forest: Any, vector: Vector, graphs: Sequence[Data]) -> Float[np.ndarray, "graphs outputs"]:
    x = np.stack([vector(graph) for graph in graphs])
    return (
        forest.predict(x)[:, None] if isinstance(forest, RandomForestRegressor) else forest.predict_proba(x)
    )

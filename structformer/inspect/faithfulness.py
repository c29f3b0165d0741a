"""Faithfulness: whether the edges that a learned graph shows as strong are those that predictions hang on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.inspect.attribution import Explainable, collected
from structformer.inspect.intervention import Seen, edited, recorded, strongest, without
from structformer.models.support import support

Scores = list[list[Tensor]]
"""Numbers of edges, for each of the graphs that were seen."""


def faithfulness(
    model: Explainable, X: Any, *, share: float = 0.2, repeats: int = 3, seed: int = 0
) -> pd.DataFrame:
    """Take edges out of the learned graph and tabulate how far that moves the predictions.

    In every step a share of the edges between tokens is taken out: those that a picture shows as the strongest, as many
    at random, those of the largest learned weights, or those on which predictions hang most to first order, for or
    against (`edge_attribution`); what is left to a token grows to the weight that all had. A picture shows how much
    edges speak for what is predicted (`TokenGraph.support`), and their weights where nothing is predicted; the
    strongest are those before anything was taken out, and no others are searched in their place. Where "strongest"
    moves predictions no further than "random" does, the picture is decoration. Taking edges away measures
    comprehensiveness, keeping no others sufficiency (DeYoung et al. 2020, arXiv 1911.03429).

    Args:
        model: A fitted estimator.
        X: What its ``learned_graph`` takes.
        share: Of the edges that a step has, of each batch where the estimator reads its data in several.
        repeats: Random choices that are averaged.
        seed: Of the random choices.

    Returns:
        A frame indexed by what is ``removed``: "strongest", "random", "by weight", "by gradient", "all but strongest",
        "all but random", "all". Its column ``change`` is the mean over rows, nodes or sets of how far predictions move:
        for classes the total variation distance of the probabilities, in [0, 1]; for numbers and vectors the distance
        over the root mean square distance of predictions from their mean. ``flipped``, for classes alone, is the share
        that gets another class. ``ratio`` is the change over that of as many random edges.

    Raises:
        ValueError: ``share`` is not in (0, 1), ``repeats`` is less than 1, or ``X`` cannot be read.
        NotFittedError: Before `fit`.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1 (got {share})")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1 (got {repeats})")
    # Among other tokens than themselves, two may have the same number without being the same.
    loops = model.learned_graph(X, support=False).is_bipartite
    networks, layers = model.graph_layers()
    kind = hasattr(model, "classes_"), hasattr(model, "predict")
    generator = torch.Generator().manual_seed(seed)
    with collected(networks, layers, *kind) as found:
        whole = _predictions(model, X)
    # Apart from the gradients, for which every network is asked once more.
    with recorded(networks, layers) as seen:
        _predictions(model, X)
    slopes = iter(found)
    by_gradient = [[next(slopes) for _ in call] for call in seen]
    by_weight = _each(seen, lambda graph, _: graph.mean_weight(), by_gradient)
    shown = _each(seen, support, by_gradient) if kind[1] else by_weight

    def told(scores: Scores, share: float, rest: bool = False) -> np.ndarray:
        removed = _each(seen, lambda graph, score: _removed(graph, score, share, rest, loops), scores)
        with edited(networks, layers, seen, lambda call, step, graph: without(graph, removed[call][step])):
            return _predictions(model, X)

    def random() -> Scores:
        return _each(seen, lambda graph, _: torch.rand(graph.num_edges, generator=generator), by_weight)

    runs = {
        "strongest": [told(shown, share)],
        "random": [told(random(), share) for _ in range(repeats)],
        "by weight": [told(by_weight, share)],
        "by gradient": [told(_each(seen, lambda _, slope: slope.abs(), by_gradient), share)],
        "all but strongest": [told(shown, share, rest=True)],
        "all but random": [told(random(), share, rest=True) for _ in range(repeats)],
        "all": [told(by_weight, 1.0)],
    }
    frame = pd.DataFrame({removed: _moved(whole, others, kind[0]) for removed, others in runs.items()}).T
    chance = frame["change"].reindex(["random"] * 4 + ["all but random"] * 2 + ["all"]).to_numpy()
    frame["ratio"] = frame["change"] / np.where(chance > 0, chance, np.nan)
    return frame.rename_axis("removed")


def _each(seen: Seen, make: Callable[[TokenGraph, Tensor], Tensor], of: Scores) -> Scores:
    """Make something of every graph and of what is known of its edges."""
    return [[make(*pair) for pair in zip(*call, strict=True)] for call in zip(seen, of, strict=True)]


def _removed(
    graph: TokenGraph, score: Float[Tensor, "edges"], share: float, rest: bool, loops: bool
) -> Bool[Tensor, "edges"]:
    """Return which edges are taken out: those of the largest scores, or the rest of those that may be."""
    chosen = strongest(graph, score, share, loops)
    if not rest:
        return chosen
    return ~chosen if loops else (graph.row != graph.col) & ~chosen


def _predictions(model: Any, X: Any) -> Float[np.ndarray, "things outputs"]:
    name = next(name for name in ("predict_proba", "predict", "transform") if hasattr(model, name))
    found = np.asarray(getattr(model, name)(X), dtype=np.float64)
    return found[:, None] if found.ndim == 1 else found


def _moved(whole: np.ndarray, others: list[np.ndarray], classes: bool) -> dict[str, float]:
    """Return how far predictions moved, averaged over several runs."""
    if classes:
        change = [float(np.abs(other - whole).sum(1).mean() / 2) for other in others]
        flipped = [float((other.argmax(1) != whole.argmax(1)).mean()) for other in others]
        return {"change": float(np.mean(change)), "flipped": float(np.mean(flipped))}
    spread = float(np.sqrt(((whole - whole.mean(0)) ** 2).sum(1).mean())) or 1.0
    return {
        "change": float(np.mean([np.linalg.norm(other - whole, axis=1).mean() for other in others])) / spread
    }

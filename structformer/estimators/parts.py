"""Parts of the training data held out, and graphs that were learned batch by batch put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from sklearn.model_selection import train_test_split
from torch import Tensor

from structformer.graph import TokenGraph

FEWEST_TO_SPLIT = 20
"""Things below which none are held out for early stopping."""


def split(
    count: int, share: float, labels: np.ndarray | None, seed: int
) -> tuple[Int[Tensor, " train"], Int[Tensor, " held"]]:
    """Hold out a share of things, of each class alike where every class has at least two of them.

    Raises:
        ValueError: ``share`` is not between 0 and 1, or leaves too little for training.
    """
    if not 0 < share < 1:
        raise ValueError(f"validation_fraction must be in [0, 1) (got {share})")
    alike = labels is not None and np.unique(labels, return_counts=True)[1].min() > 1
    kinds = len(np.unique(labels)) if alike and labels is not None else 1
    size = min(max(round(count * share), kinds), count - kinds)
    train, held = train_test_split(
        np.arange(count), test_size=size, random_state=seed, stratify=labels if alike else None
    )
    return torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(held))


def joined(
    graphs: Sequence[TokenGraph], starts: Sequence[int], num_sources: int, **fields: Any
) -> TokenGraph:
    """Put the targets of several graphs one after another.

    Args:
        graphs: The graphs, at least one.
        starts: For each graph the number, among all sources, of its first source.
        num_sources: Number of sources in all.
        **fields: Further fields of the result, such as ``names``.
    """
    degree = torch.cat([graph.rowptr.diff() for graph in graphs])
    weights = [graph.weight for graph in graphs if graph.weight is not None]
    given = [graph.given for graph in graphs if graph.given is not None]
    support = [graph.support for graph in graphs if graph.support is not None]
    return TokenGraph(
        rowptr=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
        col=torch.cat([graph.col + start for graph, start in zip(graphs, starts, strict=True)]),
        num_sources=num_sources,
        weight=torch.cat(weights) if len(weights) == len(graphs) else None,
        given=torch.cat(given) if len(given) == len(graphs) else None,
        support=torch.cat(support) if len(support) == len(graphs) else None,
        **fields,
    )

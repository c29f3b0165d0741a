"""How nodes and rows are split into those to learn from, to choose by, and to be asked for."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from sklearn.model_selection import train_test_split
from torch import Tensor

from .node_problem import Split


def stratified(labels: Int[Tensor, " nodes"], train: int, val: int, seed: int) -> Split:
    """Return a split with classes in the same shares everywhere; all that is left is asked for."""
    y = labels.numpy()
    learned, rest = train_test_split(np.arange(len(y)), train_size=train, stratify=y, random_state=seed)
    chosen, asked = train_test_split(rest, train_size=val, stratify=y[rest], random_state=seed)
    return _masks(len(y), *map(torch.from_numpy, (learned, chosen, asked)))


def class_balanced(labels: Int[Tensor, " nodes"], each: int, val: int, test: int, seed: int) -> Split:
    """Return so many nodes of each class to learn from, and of all others so many to choose by and to be asked for.

    Nodes are drawn in the order in which NodeFormer and SGFormer draw them (arXiv 2306.10759), so that their seed 123
    gives their split.
    """
    generator = torch.Generator().manual_seed(seed)
    learned: list[Tensor] = []
    others: list[Tensor] = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        drawn = members[torch.randperm(len(members), generator=generator)]
        learned.append(drawn[:each])
        others.append(drawn[each:])
    rest = torch.cat(others)
    rest = rest[torch.randperm(len(rest), generator=generator)]
    return _masks(len(labels), torch.cat(learned), rest[:val], rest[val : val + test])


def labels_a_class(labels: Int[Tensor, " nodes"], train: int, val: int, seed: int) -> Split:
    """Return so many nodes of each class to learn from and to choose by; all others are asked for.

    That is the split of Shchur et al. 2018 (arXiv 1811.05868, section 3), with 20 and 30.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[Tensor, ...]] = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        drawn = members[torch.randperm(len(members), generator=generator)]
        parts.append((drawn[:train], drawn[train : train + val], drawn[train + val :]))
    return _masks(len(labels), *(torch.cat(part) for part in zip(*parts, strict=True)))


def _masks(nodes: int, *parts: Tensor) -> Split:
    masks = torch.zeros(len(parts), nodes, dtype=torch.bool)
    for mask, part in zip(masks, parts, strict=True):
        mask[part] = True
    return Split(*masks)

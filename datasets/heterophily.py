"""Networks in which neighbours differ: actor, chameleon without its duplicates, minesweeper."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from .names import one_of
from .store import read

NAMES = ("actor", "chameleon", "minesweeper")


def heterophilous(name: Literal["actor", "chameleon", "minesweeper"]) -> Data:
    """Return a network with the ten splits of Platonov et al. 2023 (arXiv 2302.11640).

    Returns:
        `x [nodes, features]`, `y [nodes]`, `edge_index` with each link both ways, and `train_mask`, `val_mask`,
        `test_mask [nodes, 10]`, a column a split.

    Raises:
        ValueError: If there is no such network, or its file is damaged.
        FileNotFoundError: If it was not downloaded.
    """
    (content,) = read(f"heterophilous/{one_of('name', name, NAMES)}").values()
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["node_features"]).float()
        links = torch.from_numpy(arrays["edges"]).long().t()
        masks = {
            f"{part}_mask": torch.from_numpy(arrays[f"{part}_masks"]).bool().t().contiguous()
            for part in ("train", "val", "test")
        }
        return Data(
            x=x,
            y=torch.from_numpy(arrays["node_labels"]).long(),
            edge_index=to_undirected(links, num_nodes=len(x)),
            **masks,
        )

"""Citation networks Cora, CiteSeer and PubMed with the public split."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from torch_geometric.data import Data
from torch_geometric.io import read_planetoid_data

from .names import one_of
from .store import read

NAMES = ("cora", "citeseer", "pubmed")


def planetoid(name: Literal["cora", "citeseer", "pubmed"]) -> Data:
    """Return a citation network with the split of Yang, Cohen and Salakhutdinov 2016 (arXiv 1603.08861).

    Returns:
        The papers' words `x [nodes, words]`, their classes `y [nodes]`, `edge_index` with each link both ways, and
        `train_mask`, `val_mask`, `test_mask [nodes]`.

    Raises:
        ValueError: If there is no such network, or a file is damaged.
        FileNotFoundError: If it was not downloaded.
    """
    files = read(f"planetoid/{one_of('name', name, NAMES)}")
    # PyG's reader unpickles files, which is safe for none but these, whose checksums are known.
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        for path, content in files.items():
            (Path(folder) / Path(path).name).write_bytes(content)
        return read_planetoid_data(folder, name)

"""Amazon Photo: products, and which are bought together."""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import remove_self_loops, to_undirected

from .store import read


def amazon_photo() -> Data:
    """Return the network of Shchur et al. 2018 (arXiv 1811.05868); it has no split of its own.

    Returns:
        The words of the reviews `x [nodes, words]`, the products' classes `y [nodes]`, and `edge_index` with each
        link both ways.

    Raises:
        FileNotFoundError: If it was not downloaded.
        ValueError: If the file is damaged.
    """
    (content,) = read("amazon_photo").values()
    # It holds pickled matrices; unpickling is safe for none but this file, whose checksum is known.
    with warnings.catch_warnings(), np.load(BytesIO(content), allow_pickle=True) as arrays:
        # They name modules of scipy as they were called when the file was made.
        warnings.simplefilter("ignore", DeprecationWarning)
        links, words = arrays["adj_matrix"].item().tocoo(), arrays["node_attr"].item()
        edge_index, _ = remove_self_loops(torch.from_numpy(np.stack([links.row, links.col]).astype(np.int64)))
        return Data(
            x=torch.from_numpy(words.toarray()).float(),
            y=torch.from_numpy(arrays["node_label"]).long(),
            edge_index=to_undirected(edge_index, num_nodes=words.shape[0]),
        )

"""Known labels spread along a graph and nothing is learned: that of nearest neighbours, or the given one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.preprocessing import normalize
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor
from torch_geometric.nn import LabelPropagation

from ..node_problem import Nodes, Predictor


def fit_spreading(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Return scikit-learn's label spreading over nearest neighbours; nothing in it is random.

    Args:
        nodes: Unused: nodes that are asked for bring their known labels along.
        options: Of `LabelSpreading`, and "unit": whether rows are first brought to length 1, so that distances rank
            neighbours as the cosine does.
        seed: Unused.
    """
    options = dict(options)
    unit = options.pop("unit", False)

    def predict(nodes: Nodes) -> Tensor:
        x = nodes.x.double().numpy()
        model = LabelSpreading(kernel="knn", max_iter=1_000, n_jobs=torch.get_num_threads(), **options)
        model.fit(normalize(x) if unit else x, nodes.learned.numpy())
        scores = torch.zeros(len(x), nodes.classes, dtype=torch.float64)
        scores[:, torch.as_tensor(model.classes_)] = torch.as_tensor(model.label_distributions_)
        return scores

    return predict


def fit_propagation(nodes: Nodes, options: Mapping[str, Any], seed: int) -> Predictor:
    """Return PyG's label propagation along the given edges; nothing in it is random.

    Args:
        nodes: Unused, as in `fit_spreading`.
        options: Of `LabelPropagation`: num_layers and alpha.
        seed: Unused.
    """
    model = LabelPropagation(**options)

    def predict(nodes: Nodes) -> Tensor:
        # An edge to nodes without a label: as many classes as there are, also where the last has no label here.
        labels = torch.nn.functional.one_hot(nodes.learned.clamp(min=0), nodes.classes).float()
        return model(labels, nodes.edge_index, nodes.train)

    return predict

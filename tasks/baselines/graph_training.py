"""Training of networks over graphs: the same reading, loop and stopping rule for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data

from structformer.tokenize import GraphTokenizer
from structformer.training import TrainingConfig, index_loader, train

from ..graph_problems import Budget, Fitted, Graphs, GraphSplit
from .graph_sizes import GraphShape, num_parameters, sized

# Graphs predicted at a time.
AT_A_TIME = 256
# What sets a network's width and hidden features: shape, width, hidden, dropout.
BuildGraphNetwork = Callable[[GraphShape, int, int, float], nn.Module]


def trained_networks(
    build: BuildGraphNetwork, structure: bool, split: GraphSplit, budget: Budget, seed: int
) -> Iterator[Fitted]:
    """Train a network with each of the settings of the grid.

    AdamW with a linear rise and half a cosine, gradients clipped, the weights of the epoch with the smallest
    validation loss: the loop that our own estimators use.

    Args:
        build: Makes the network.
        structure: Whether nodes carry degrees and return probabilities of walks beside their own features.
        split: The graphs. Those of the test are not looked at.
        budget: What may be used.
        seed: Decides first weights, batches and dropout.
    """
    tokenizer = GraphTokenizer(structure=structure).fit(list(split.train.graphs))
    target = Target(split)
    seen, held = (_with_targets(tokenizer, part, target) for part in (split.train, split.validation))
    shape = GraphShape(tokenizer.num_features_, len(tokenizer.edge_feature_names_), split.outputs)
    for point in budget.grid:
        torch.manual_seed(seed)
        network = sized(
            lambda width, hidden, p=point: build(shape, width, hidden, p.dropout), budget.parameters
        )
        config = TrainingConfig(
            epochs=budget.epochs, patience=budget.patience, learning_rate=point.learning_rate
        )
        history = train(
            network,
            index_loader(len(seen), budget.batch, seed, partial(_batch, seen)),
            lambda model, batch: target.loss(model(batch), batch.y),
            config,
            validate=lambda model: -float(target.loss(_outputs(model, held), torch.cat([g.y for g in held]))),
            progress=False,
        )
        predict = partial(_predict, network, tokenizer, target)
        yield Fitted(predict, num_parameters(network), history.best, asdict(point))


class Target:
    """Classes, or numbers with the mean and spread of the training graphs.

    Args:
        split: Whose training targets are measured.
    """

    def __init__(self, split: GraphSplit) -> None:
        self.number = split.measure == "r2"
        self.mean, self.spread = 0.0, 1.0
        if self.number:
            self.mean, self.spread = float(split.train.target.mean()), float(split.train.target.std()) or 1.0

    def coded(self, target: np.ndarray) -> Tensor:
        """Return targets as the loss takes them."""
        if self.number:
            return torch.as_tensor((target - self.mean) / self.spread, dtype=torch.float32)
        return torch.as_tensor(target, dtype=torch.long)

    def loss(self, outputs: Float[Tensor, "graphs outputs"], target: Tensor) -> Float[Tensor, ""]:
        """Return the mean squared error of standardised numbers, or the cross-entropy of classes."""
        return F.mse_loss(outputs[:, 0], target) if self.number else F.cross_entropy(outputs, target)

    def said(self, outputs: Float[Tensor, "graphs outputs"]) -> Float[np.ndarray, "graphs outputs"]:
        """Return numbers in their own units, or probabilities of classes."""
        if self.number:
            return outputs.numpy() * self.spread + self.mean
        return outputs.softmax(-1).numpy()


def read_graphs(tokenizer: GraphTokenizer, graphs: Sequence[Data]) -> list[Data]:
    """Return graphs with the features that the tokenizer makes."""
    tokens = tokenizer.transform(list(graphs))
    assert tokens.edge_index is not None
    # The tokenizer leaves the edges of a graph together.
    counts = torch.bincount(tokens.set_index[tokens.edge_index[0]], minlength=tokens.num_sets).tolist()
    xs, pairs = tokens.x.split(tokens.sizes.tolist()), tokens.edge_index.split(counts, dim=1)
    bonds = [None] * len(xs) if tokens.edge_attr is None else tokens.edge_attr.split(counts)
    starts = tokens.ptr[:-1].tolist()
    return [
        Data(x=x, edge_index=pair - start, edge_attr=bond)
        for x, pair, bond, start in zip(xs, pairs, bonds, starts, strict=True)
    ]


def _with_targets(tokenizer: GraphTokenizer, part: Graphs, target: Target) -> list[Data]:
    found = read_graphs(tokenizer, part.graphs)
    for graph, y in zip(found, target.coded(part.target), strict=True):
        graph.y = y[None]
    return found


def _batch(graphs: Sequence[Data], rows: Int[Tensor, "some"]) -> Data:
    return Batch.from_data_list([graphs[row] for row in rows.tolist()])


def _outputs(network: nn.Module, graphs: Sequence[Data]) -> Float[Tensor, "graphs outputs"]:
    rows = torch.arange(len(graphs)).split(AT_A_TIME)
    with torch.no_grad():
        return torch.cat([network(_batch(graphs, some)) for some in rows])


def _predict(
    network: nn.Module, tokenizer: GraphTokenizer, target: Target, graphs: Sequence[Data]
) -> Float[np.ndarray, "graphs outputs"]:
    return target.said(_outputs(network, read_graphs(tokenizer, graphs)))

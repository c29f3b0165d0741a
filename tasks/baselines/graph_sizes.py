"""Networks over graphs, made as large as the arms they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

# Widths go up in these steps, so that heads divide them.
STEP = 4


@dataclass(frozen=True)
class GraphShape:
    """What a network over graphs reads and says.

    Attributes:
        features: Of a node.
        edge_features: Of an edge; 0 where edges have none.
        outputs: Numbers to read out for a graph.
    """

    features: int
    edge_features: int
    outputs: int


Build = Callable[[int, int], nn.Module]


def num_parameters(network: nn.Module) -> int:
    """Return how many numbers are learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def sized(build: Build, parameters: int) -> nn.Module:
    """Return a network with about so many parameters.

    It is as wide as fits; what is left goes into the hidden layer of its read-out.

    Args:
        build: Makes a network of a width and a number of hidden features of the read-out.
        parameters: How many are wanted.

    Raises:
        ValueError: If even the narrowest network has more.
    """

    def size(width: int, hidden: int) -> int:
        with torch.device("meta"):
            return num_parameters(build(width, hidden))

    width = 0
    while size(width + STEP, width + STEP) <= parameters:
        width += STEP
    if not width:
        raise ValueError(
            f"parameters must be at least {size(STEP, STEP)} for this network (got {parameters})"
        )
    least = size(width, width)
    return build(width, width + (parameters - least) // (size(width, width + 1) - least))


def read_out(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return the network that reads the outputs off the vector of a graph."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
    )

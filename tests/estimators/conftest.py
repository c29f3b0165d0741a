"""A few labelled nodes of a random graph, and a small model of them that takes down what it is shown."""

from collections.abc import Callable

import pytest
import torch

from structformer.models import NodeModel, SOESEncoderConfig, TokenInput
from structformer.tokens import TokenSet

NODES, CLASSES = 31, 3


class Recorder(NodeModel):
    """Takes down which labels it is shown."""

    def __init__(self) -> None:
        config = SOESEncoderConfig(width=10, heads=2, neighbors=3, affinity=5, dropout=0.0)
        super().__init__(TokenInput(5), CLASSES, config)
        self.seen: list[torch.Tensor] = []

    def forward(self, tokens, labels, links=None, features=None):
        self.seen.append(labels.any(-1))
        return super().forward(tokens, labels, links, features)


@pytest.fixture
def nodes(rng: torch.Generator) -> TokenSet:
    """Nodes with five features each."""
    edges = torch.randint(NODES, (2, 89), generator=rng)
    return TokenSet(torch.randn(NODES, 5, generator=rng), edge_index=edges)


@pytest.fixture
def recorder() -> Callable[[], Recorder]:
    """Makes a model of these nodes."""
    return Recorder


@pytest.fixture
def labelled() -> Callable[[int], torch.Tensor]:
    """Classes of the nodes, of which so many are known."""
    return lambda known: torch.tensor([i % CLASSES if i < known else -1 for i in range(NODES)])

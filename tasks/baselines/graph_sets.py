"""Networks that see a graph as the set of its nodes, without its edges."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import DeepSetsAggregation, SetTransformerAggregation, global_add_pool

from .graph_sizes import GraphShape, read_out

HEADS = 4


class DeepSets(nn.Module):
    """torch_geometric's DeepSetsAggregation (Zaheer et al. 2017, arXiv 1703.06114): ρ(Σ φ(x)).

    Args:
        shape: What is read and said.
        width: Features inside.
        hidden: Features of the read-out's hidden layer.
        dropout: Probability of dropping a feature.
    """

    def __init__(self, shape: GraphShape, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        inner = nn.Sequential(
            nn.Linear(shape.features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.sets = DeepSetsAggregation(inner, read_out(width, hidden, shape.outputs, dropout))

    def forward(self, batch: Data) -> Float[Tensor, "graphs outputs"]:
        """Return the outputs of each graph of a batch."""
        return self.sets(batch.x, batch.batch, dim_size=batch.num_graphs)


class SetTransformer(nn.Module):
    """torch_geometric's SetTransformerAggregation (Lee et al. 2019, arXiv 1810.00825): two blocks, one seed.

    Args:
        shape: What is read and said.
        width: Features inside; the heads divide it.
        hidden: Features of the read-out's hidden layer.
        dropout: Probability of dropping an attention weight or a feature of the read-out.
    """

    def __init__(self, shape: GraphShape, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(shape.features, width)
        self.sets = SetTransformerAggregation(
            width, num_encoder_blocks=2, heads=HEADS, layer_norm=True, dropout=dropout
        )
        self.head = read_out(width, hidden, shape.outputs, dropout)

    def forward(self, batch: Data) -> Float[Tensor, "graphs outputs"]:
        """Return the outputs of each graph of a batch."""
        return self.head(self.sets(self.embedding(batch.x), batch.batch, dim_size=batch.num_graphs))


class FeatureSums(nn.Module):
    """The sum of the nodes' features, and a network on it: the baseline of Errica et al. 2020, arXiv 1912.09893.

    Args:
        shape: What is read and said.
        width: Features of the first hidden layer.
        hidden: Features of the second.
        dropout: Probability of dropping a feature.
    """

    def __init__(self, shape: GraphShape, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(shape.features, width), nn.ReLU(), nn.Dropout(dropout))
        self.head = read_out(width, hidden, shape.outputs, dropout)

    def forward(self, batch: Data) -> Float[Tensor, "graphs outputs"]:
        """Return the outputs of each graph of a batch."""
        return self.head(self.inner(global_add_pool(batch.x, batch.batch, batch.num_graphs)))

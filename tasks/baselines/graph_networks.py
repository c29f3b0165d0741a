"""Message-passing networks over graphs, of torch_geometric's layers: GIN, GCN, GraphSAGE, GPS."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import (
    GCNConv,
    GINConv,
    GINEConv,
    GPSConv,
    SAGEConv,
    global_add_pool,
    global_mean_pool,
)

from .graph_sizes import GraphShape, read_out

LAYERS = {"gin": 5, "gcn": 5, "graphsage": 5, "gps": 3}
HEADS = 4


class MessagePassing(nn.Module):
    """GIN, GCN or GraphSAGE with residual connections, batch normalisation and dropout.

    With these three, plain networks are as good as graph transformers (Luo et al. 2024, arXiv 2406.08993). Graphs are
    read out by the sum of their nodes in GIN (Xu et al. 2019, arXiv 1810.00826), by their mean in the others. Edge
    features enter GIN's messages (GINE, Hu et al. 2020, arXiv 1905.12265); the others have no place for them.

    Args:
        kind: "gin", "gcn" or "graphsage".
        shape: What is read and said.
        width: Features of a node inside.
        hidden: Features of the read-out's hidden layer.
        dropout: Probability of dropping a feature.
    """

    def __init__(self, kind: str, shape: GraphShape, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(shape.features, width)
        self.layers = nn.ModuleList(_layer(kind, width, shape.edge_features) for _ in range(LAYERS[kind]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.layers)
        self.bonds = kind == "gin" and shape.edge_features > 0
        self.pool = global_add_pool if kind == "gin" else global_mean_pool
        self.dropout = dropout
        self.head = read_out(width, hidden, shape.outputs, dropout)

    def forward(self, batch: Data) -> Float[Tensor, "graphs outputs"]:
        """Return the outputs of each graph of a batch."""
        h = self.embedding(batch.x)
        edges = (batch.edge_index, batch.edge_attr) if self.bonds else (batch.edge_index,)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = h + F.dropout(norm(layer(h, *edges)).relu(), self.dropout, self.training)
        return self.head(self.pool(h, batch.batch, batch.num_graphs))


class GPS(nn.Module):
    """torch_geometric's GPSConv (Rampášek et al. 2022, arXiv 2205.12454): GIN along edges, attention among all nodes.

    Graphs are read out by the mean of their nodes.

    Args:
        shape: What is read and said.
        width: Features of a node inside; the heads divide it.
        hidden: Features of the read-out's hidden layer.
        dropout: Probability of dropping a feature.
    """

    def __init__(self, shape: GraphShape, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(shape.features, width)
        self.layers = nn.ModuleList(
            GPSConv(width, _layer("gin", width, shape.edge_features), HEADS, dropout)
            for _ in range(LAYERS["gps"])
        )
        self.bonds = shape.edge_features > 0
        self.head = read_out(width, hidden, shape.outputs, dropout)

    def forward(self, batch: Data) -> Float[Tensor, "graphs outputs"]:
        """Return the outputs of each graph of a batch."""
        h = self.embedding(batch.x)
        edges = {"edge_attr": batch.edge_attr} if self.bonds else {}
        for layer in self.layers:
            h = layer(h, batch.edge_index, batch.batch, **edges)
        return self.head(global_mean_pool(h, batch.batch, batch.num_graphs))


def _layer(kind: str, width: int, edge_features: int) -> nn.Module:
    if kind == "gcn":
        return GCNConv(width, width)
    if kind == "graphsage":
        return SAGEConv(width, width)
    inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))
    return GINEConv(inner, edge_dim=edge_features) if edge_features else GINConv(inner)

"""Graph neural networks as rivals, of PyG's layers: as published, or with residual connections and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

Kind = Literal["mlp", "gcn", "gat", "sage"]
KINDS = ("mlp", "gcn", "gat", "sage")


@dataclass(frozen=True)
class NodeNetworkConfig:
    """What a network is made of.

    Attributes:
        kind: Its layers; "mlp" has none that listens.
        hidden: Features of a hidden layer, of all heads together.
        layers: Times that nodes listen.
        dropout: Probability of dropping a feature, and in "gat" an attention weight.
        heads: Of "gat".
        last_heads: Heads of the last layer of a plain "gat", whose mean it returns.
        residual: Normalised layers with residual connections between linear maps in and out, as in Platonov et al. 2023
            (arXiv 2302.11640) and Luo et al. 2024 (arXiv 2406.08993), and not the plain network as first published.
    """

    kind: Kind
    hidden: int = 64
    layers: int = 2
    dropout: float = 0.5
    heads: int = 8
    last_heads: int = 1
    residual: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be among {KINDS} (got {self.kind!r})")
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1 (got {self.layers})")
        if self.kind == "gat" and self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden (got heads={self.heads}, hidden={self.hidden})")


def node_network(config: NodeNetworkConfig, features: int, classes: int) -> nn.Module:
    """Return a network that is called with features and edges and returns logits."""
    kind = ResidualNetwork if config.residual else PlainNetwork
    return kind(config, features, classes)


class PlainNetwork(nn.Module):
    """[Dropout → layer → activation] again and again (Kipf and Welling 2017; Velickovic et al. 2018)."""

    def __init__(self, config: NodeNetworkConfig, features: int, classes: int) -> None:
        super().__init__()
        self.config = config
        widths = [features, *[config.hidden] * (config.layers - 1), classes]
        self.layers = nn.ModuleList(
            _layer(config, inside, outside, last=place == config.layers - 1)
            for place, (inside, outside) in enumerate(pairwise(widths))
        )
        self.activation = nn.ELU() if config.kind == "gat" else nn.ReLU()

    def forward(
        self, x: Float[Tensor, "nodes features"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "nodes classes"]:
        """Return logits."""
        for place, layer in enumerate(self.layers):
            x = self.activation(x) if place else x
            x = F.dropout(x, self.config.dropout, self.training)
            x = layer(x) if self.config.kind == "mlp" else layer(x, edge_index)
        return x


class ResidualNetwork(nn.Module):
    """Linear map in, h ← h + dropout(map(GELU(layer(norm(h))))) again and again, linear map out."""

    def __init__(self, config: NodeNetworkConfig, features: int, classes: int) -> None:
        super().__init__()
        self.config, width = config, config.hidden
        self.embed = nn.Linear(features, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.layers))
        self.layers = nn.ModuleList(_layer(config, width, width, last=False) for _ in range(config.layers))
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(
        self, x: Float[Tensor, "nodes features"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "nodes classes"]:
        """Return logits."""
        rate = self.config.dropout
        h = F.gelu(F.dropout(self.embed(x), rate, self.training))
        for norm, layer, out in zip(self.norms, self.layers, self.maps, strict=True):
            heard = layer(norm(h)) if self.config.kind == "mlp" else layer(norm(h), edge_index)
            h = h + F.dropout(out(F.gelu(F.dropout(heard, rate, self.training))), rate, self.training)
        return self.head(self.norm(h))


def _layer(config: NodeNetworkConfig, inside: int, outside: int, last: bool) -> nn.Module:
    if config.kind == "mlp":
        return nn.Linear(inside, outside)
    if config.kind == "gcn":
        return GCNConv(inside, outside)
    if config.kind == "sage":
        return SAGEConv(inside, outside)
    if last:
        return GATConv(inside, outside, config.last_heads, concat=False, dropout=config.dropout)
    return GATConv(inside, outside // config.heads, config.heads, dropout=config.dropout)

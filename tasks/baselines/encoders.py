"""Encoders of token sets as others build them: a dense Transformer, and GPS layers on given edges."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import GINConv, GPSConv
from torch_geometric.utils import to_dense_batch


class DenseEncoder(nn.Module):
    """torch's TransformerEncoder, pre-norm and without dropout; the sets of a batch are padded.

    Args:
        width: Features of a token.
        layers: Encoder layers.
        heads: Attention heads.
        expansion: Hidden features of the feed-forward block as a multiple of ``width``.
    """

    def __init__(self, width: int, layers: int, heads: int, expansion: int = 2) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, heads, expansion * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(
        self, h: Float[Tensor, "tokens width"], batch: Int[Tensor, "tokens"] | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return the final states; ``batch`` holds the set of each token, ascending."""
        if batch is None:
            # Without padding there is no mask, and torch may take its fastest kernel.
            return self.encoder(h[None])[0]
        padded, there = to_dense_batch(h, batch)
        if bool(there.all()):
            return self.encoder(padded).flatten(0, 1)
        return self.encoder(padded, src_key_padding_mask=~there)[there]


class GPSEncoder(nn.Module):
    """torch_geometric's GPSConv layers (Rampášek et al. 2022, arXiv 2205.12454).

    Each layer adds a GINConv along the given edges and attention among all tokens of a set.

    Args:
        width: Features of a token.
        layers: GPS layers.
        heads: Attention heads.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GPSConv(width, GINConv(_two_layers(width)), heads=heads) for _ in range(layers)
        )

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        edge_index: Int[Tensor, "2 edges"],
        batch: Int[Tensor, "tokens"] | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Return the final states; ``batch`` holds the set of each token, ascending."""
        for layer in self.layers:
            h = layer(h, edge_index, batch)
        return h


def _two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

"""Networks on packed sets as others build them: pooled MLPs, Deep Sets, Set Transformers, dense Transformers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MLP, MaxAggregation, MeanAggregation
from torch_geometric.nn.aggr import DeepSetsAggregation, SetTransformerAggregation
from torch_geometric.nn.aggr.utils import InducedSetAttentionBlock
from torch_geometric.utils import to_dense_batch

from structformer.ops.segment import row_index

from .encoders import DenseEncoder


class PooledMLP(nn.Module):
    """An MLP for each token, the mean or the largest value of each feature over a set, and an MLP for the set.

    Args:
        features: Of a token.
        outputs: Of a set.
        width: Of hidden layers.
        pooling: "mean" or "max".
    """

    def __init__(self, features: int, outputs: int, width: int, pooling: str) -> None:
        super().__init__()
        poolings = {"mean": MeanAggregation, "max": MaxAggregation}
        if pooling not in poolings:
            raise ValueError(f'pooling must be "mean" or "max" (got {pooling!r})')
        self.local, self.whole = local_mlp(features, width), whole_mlp(width, outputs)
        self.pooling = poolings[pooling]()

    def forward(
        self, x: Float[Tensor, "tokens features"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "pointers-1 outputs"]:
        """Return the outputs of each set."""
        return self.whole(self.pooling(self.local(x), ptr=ptr))


class DeepSets(nn.Module):
    """torch_geometric's Deep Sets (Zaheer et al. 2017, arXiv 1703.06114): as above, with sums.

    Args:
        features: Of a token.
        outputs: Of a set.
        width: Of hidden layers.
    """

    def __init__(self, features: int, outputs: int, width: int) -> None:
        super().__init__()
        self.aggregation = DeepSetsAggregation(local_mlp(features, width), whole_mlp(width, outputs))

    def forward(
        self, x: Float[Tensor, "tokens features"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "pointers-1 outputs"]:
        """Return the outputs of each set."""
        return self.aggregation(x, ptr=ptr)


class SetTransformer(nn.Module):
    """torch_geometric's Set Transformer (Lee et al. 2019, arXiv 1810.00825): two blocks, PMA, one more block.

    Args:
        features: Of a token.
        outputs: Of a set; a multiple of ``seeds``.
        width: Of a token inside.
        heads: Attention heads; must divide ``width``.
        seeds: Of the pooling; their vectors are read out alike, as in the paper, and stand side by side.
        induced: Points through which the tokens of a set attend to each other; 0 lets each attend to all.
    """

    def __init__(
        self, features: int, outputs: int, width: int, heads: int = 4, seeds: int = 1, induced: int = 0
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.induced = nn.ModuleList(
            InducedSetAttentionBlock(width, induced, heads) for _ in range(2 if induced else 0)
        )
        blocks = 0 if induced else 2
        self.aggregation = SetTransformerAggregation(
            width, seeds, num_encoder_blocks=blocks, num_decoder_blocks=1, heads=heads
        )
        if outputs % seeds:
            raise ValueError(f"seeds must divide outputs, {outputs} (got {seeds})")
        self.seeds = seeds
        self.head = nn.Linear(width, outputs // seeds)

    def forward(
        self, x: Float[Tensor, "tokens features"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "pointers-1 outputs"]:
        """Return the outputs of each set."""
        index, sets = row_index(ptr, len(x)), len(ptr) - 1
        h = self.embedding(x)
        if len(self.induced):
            padded, there = to_dense_batch(h, index, batch_size=sets)
            for block in self.induced:
                padded = block(padded, there)
            h = padded[there]
        pooled = self.aggregation(h, index, dim_size=sets)
        return self.head(pooled.unflatten(1, (self.seeds, -1))).flatten(1)


class PooledTransformer(nn.Module):
    """torch's Transformer encoder, the mean over a set, and a linear map.

    Args:
        features: Of a token.
        outputs: Of a set.
        width: Of a token inside.
        heads: Attention heads; must divide ``width``.
        layers: Of the encoder.
        positions: Whether a token is told its place, by sinusoids as in Vaswani et al. 2017 (arXiv 1706.03762).
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        width: int,
        heads: int = 4,
        layers: int = 2,
        positions: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.positions = positions
        self.encoder = DenseEncoder(width, layers, heads)
        self.pooling = MeanAggregation()
        self.head = nn.Linear(width, outputs)

    def forward(
        self, x: Float[Tensor, "tokens features"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "pointers-1 outputs"]:
        """Return the outputs of each set."""
        index = row_index(ptr, len(x))
        h = self.embedding(x)
        if self.positions:
            h = h + sinusoids(torch.arange(len(x), device=x.device) - ptr[index], h)
        return self.head(self.pooling(self.encoder(h, index), ptr=ptr))


def local_mlp(features: int, width: int) -> MLP:
    """Return the network of a token: three layers."""
    return MLP([features, width, width, width], norm=None)


def whole_mlp(width: int, outputs: int) -> MLP:
    """Return the network of a set: three layers."""
    return MLP([width, width, width, outputs], norm=None)


def sinusoids(
    place: Int[Tensor, "tokens"], like: Float[Tensor, "tokens width"]
) -> Float[Tensor, "tokens width"]:
    """Return sines and cosines of the places, half of each."""
    half = -(-like.shape[1] // 2)
    rate = 10_000.0 ** (-torch.arange(half, dtype=like.dtype, device=like.device) / half)
    angle = place[:, None].to(like.dtype) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, : like.shape[1]]

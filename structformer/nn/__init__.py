"""Layers: structure, attention, feed-forward, embeddings, read-outs."""

from structformer.nn.asam import ASAM, ASAMConfig
from structformer.nn.embedding import CellEmbedding, FeatureEmbedding
from structformer.nn.feedforward import FeedForward
from structformer.nn.readout import SetPooling
from structformer.nn.soes import SOES, SOESConfig

__all__ = [
    "ASAM",
    "SOES",
    "ASAMConfig",
    "CellEmbedding",
    "FeatureEmbedding",
    "FeedForward",
    "SOESConfig",
    "SetPooling",
]

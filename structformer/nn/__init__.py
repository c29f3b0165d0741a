"""Layers: structure, attention, experts, recurrence and memory, embeddings, read-outs."""

from structformer.nn.asam import ASAM, ASAMConfig
from structformer.nn.content_space import ContentSpace
from structformer.nn.convolution import ShortConvolution
from structformer.nn.embedding import CellEmbedding, FeatureEmbedding
from structformer.nn.feedforward import FeedForward
from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.memory_signals import MemoryState
from structformer.nn.mixture_pooling import Mixture, MixturePooling
from structformer.nn.moe import ExpertsOutput, MixtureOfExperts, MixtureOfExpertsConfig
from structformer.nn.r2mu import R2MU, BlockOutput, R2MUConfig, Thought
from structformer.nn.readout import SetPooling
from structformer.nn.segment_memory import SegmentMemory
from structformer.nn.set_dropout import SetDropout
from structformer.nn.soes import SOES, SOESConfig

__all__ = [
    "ASAM",
    "R2MU",
    "SOES",
    "ASAMConfig",
    "BlockOutput",
    "CellEmbedding",
    "ContentSpace",
    "DeepShallowMemory",
    "DeepShallowMemoryConfig",
    "ExpertsOutput",
    "FeatureEmbedding",
    "FeedForward",
    "MemoryState",
    "Mixture",
    "MixtureOfExperts",
    "MixtureOfExpertsConfig",
    "MixturePooling",
    "R2MUConfig",
    "SOESConfig",
    "SegmentMemory",
    "SetDropout",
    "SetPooling",
    "ShortConvolution",
    "Thought",
]

"""Models: the encoder, and the heads that estimators put on it."""

from structformer.models.encoder import Encoded, SOESEncoder, SOESEncoderConfig
from structformer.models.node import NodeModel
from structformer.models.pooled import PooledModel, TokenInput
from structformer.models.table import RowMemory, TableModel, TableModelConfig

__all__ = [
    "Encoded",
    "NodeModel",
    "PooledModel",
    "RowMemory",
    "SOESEncoder",
    "SOESEncoderConfig",
    "TableModel",
    "TableModelConfig",
    "TokenInput",
]

"""Models: the encoders, the heads that estimators put on them, and models of text."""

from structformer.models.encoder import Encoded, SOESEncoder, SOESEncoderConfig
from structformer.models.language import LanguageOutput, ReSSFormerLM, ReSSFormerLMConfig
from structformer.models.node import NodeModel
from structformer.models.parts import PartsModel, PartsOutput
from structformer.models.pooled import PooledModel, TokenInput
from structformer.models.ressformer import Reasoned, ReSSFormer, ReSSFormerConfig
from structformer.models.table import RowMemory, TableModel, TableModelConfig
from structformer.models.text_qa import TextQA, TextQAConfig, TextQAOutput

__all__ = [
    "Encoded",
    "LanguageOutput",
    "NodeModel",
    "PartsModel",
    "PartsOutput",
    "PooledModel",
    "ReSSFormer",
    "ReSSFormerConfig",
    "ReSSFormerLM",
    "ReSSFormerLMConfig",
    "Reasoned",
    "RowMemory",
    "SOESEncoder",
    "SOESEncoderConfig",
    "TableModel",
    "TableModelConfig",
    "TextQA",
    "TextQAConfig",
    "TextQAOutput",
    "TokenInput",
]

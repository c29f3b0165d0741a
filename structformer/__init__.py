"""structformer: learning on data that has structure but no order.

Sets, tables and graphs become token sets; a sparse graph over the tokens is learned from their content
alone; sparse attention runs along it; and the learned graph is an object to look at, score and export.
"""

from structformer import inspect, models, nn, ops, tokenize
from structformer.estimators import (
    GraphClassifier,
    GraphEncoder,
    GraphRegressor,
    NodeClassifier,
    SetClassifier,
    SetEncoder,
    SetRegressor,
    StructFormerClassifier,
    StructFormerRegressor,
    TableEncoder,
    load,
)
from structformer.graph import TokenGraph
from structformer.tokens import TokenSet

__version__ = "0.1.0"

__all__ = [
    "GraphClassifier",
    "GraphEncoder",
    "GraphRegressor",
    "NodeClassifier",
    "SetClassifier",
    "SetEncoder",
    "SetRegressor",
    "StructFormerClassifier",
    "StructFormerRegressor",
    "TableEncoder",
    "TokenGraph",
    "TokenSet",
    "inspect",
    "load",
    "models",
    "nn",
    "ops",
    "tokenize",
]

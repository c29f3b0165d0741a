"""structformer: learning on data that has structure but no order.

Sets, tables and graphs become token sets; a sparse graph over the tokens is learned from their content alone;
sparse attention runs along it; and the learned graph is an object to look at, score and export.
"""

from structformer import models, nn, ops
from structformer.estimators import StructFormerClassifier, StructFormerRegressor, load
from structformer.graph import TokenGraph
from structformer.tokens import TokenSet

__version__ = "0.1.0"

__all__ = [
    "StructFormerClassifier",
    "StructFormerRegressor",
    "TokenGraph",
    "TokenSet",
    "load",
    "models",
    "nn",
    "ops",
]

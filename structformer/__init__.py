"""structformer: learning on data that has structure but no order.

Sets, tables and graphs become token sets; a sparse graph over the tokens is learned from their content
alone; sparse attention runs along it; and the learned graph is an object to look at, score and export.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structformer import inspect, models, nn, ops, tokenize
    from structformer.estimators import (
        GraphClassifier,
        GraphEncoder,
        GraphRegressor,
        NodeClassifier,
        QuestionAnswerer,
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
    "QuestionAnswerer",
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

_SUBPACKAGES = {"inspect", "models", "nn", "ops", "tokenize"}
_HOMES = {"TokenGraph": "structformer.graph", "TokenSet": "structformer.tokens"}


def __getattr__(name: str) -> Any:
    # On first use: torch and its friends take seconds to import, and the shell's --help needs none of them.
    if name not in __all__:
        raise AttributeError(f"module 'structformer' has no attribute {name!r}")
    if name in _SUBPACKAGES:
        return import_module(f"structformer.{name}")
    value = getattr(import_module(_HOMES.get(name, "structformer.estimators")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

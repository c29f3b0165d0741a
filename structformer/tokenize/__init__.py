"""From data to tokens: sets, tables, graphs and text."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structformer.tokenize.graphs import GraphTokenizer
    from structformer.tokenize.questions import QuestionTokenizer
    from structformer.tokenize.sets import SetTokenizer
    from structformer.tokenize.tables import TableTokenizer
    from structformer.tokenize.text import TextTokenizer

__all__ = ["GraphTokenizer", "QuestionTokenizer", "SetTokenizer", "TableTokenizer", "TextTokenizer"]

_HOMES = {
    "GraphTokenizer": "structformer.tokenize.graphs",
    "QuestionTokenizer": "structformer.tokenize.questions",
    "SetTokenizer": "structformer.tokenize.sets",
    "TableTokenizer": "structformer.tokenize.tables",
    "TextTokenizer": "structformer.tokenize.text",
}


def __getattr__(name: str) -> Any:
    # On first use: who reads files needs no torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'structformer.tokenize' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

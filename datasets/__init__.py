"""Data sets: loaders and data cards.

Loaders read what lies in the data folder: the one that `$STRUCTFORMER_DATA` names, or else the user's cache. Nothing
but :func:`download` uses the network. :func:`cards` tells of every data set what it is, where it comes from, under what
terms, and what to beware of.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import cards
    from .citations import planetoid
    from .copurchases import amazon_photo
    from .digits import Digits, mnist
    from .facts import TabFact, tabfact
    from .fetch import download
    from .folder import data_folder
    from .heterophily import heterophilous
    from .moleculenet import molecules
    from .paragraphs import Question, hotpotqa
    from .stories import Babi, Story, babi
    from .tables import Table, mixed_table
    from .texts import TextSplits, shakespeare, wikitext2
    from .tu_collection import GraphCollection, tu_graphs

# No module is named as what is in it: the import of a module would hide the function of that name.
_HOMES = {
    "Babi": "stories",
    "Digits": "digits",
    "GraphCollection": "tu_collection",
    "Question": "paragraphs",
    "Story": "stories",
    "TabFact": "facts",
    "Table": "tables",
    "TextSplits": "texts",
    "amazon_photo": "copurchases",
    "babi": "stories",
    "cards": "catalogue",
    "data_folder": "folder",
    "download": "fetch",
    "heterophilous": "heterophily",
    "hotpotqa": "paragraphs",
    "mixed_table": "tables",
    "mnist": "digits",
    "molecules": "moleculenet",
    "planetoid": "citations",
    "shakespeare": "texts",
    "tabfact": "facts",
    "tu_graphs": "tu_collection",
    "wikitext2": "texts",
}

__all__ = [
    "Babi",
    "Digits",
    "GraphCollection",
    "Question",
    "Story",
    "TabFact",
    "Table",
    "TextSplits",
    "amazon_photo",
    "babi",
    "cards",
    "data_folder",
    "download",
    "heterophilous",
    "hotpotqa",
    "mixed_table",
    "mnist",
    "molecules",
    "planetoid",
    "shakespeare",
    "tabfact",
    "tu_graphs",
    "wikitext2",
]


def __getattr__(name: str) -> Any:
    # On first use: the cards and the download need no torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

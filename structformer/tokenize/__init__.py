"""From data to tokens: sets, tables, graphs and text."""

from structformer.tokenize.graphs import GraphTokenizer
from structformer.tokenize.sets import SetTokenizer
from structformer.tokenize.tables import TableTokenizer
from structformer.tokenize.text import TextTokenizer

__all__ = ["GraphTokenizer", "SetTokenizer", "TableTokenizer", "TextTokenizer"]

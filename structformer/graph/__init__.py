"""The learned graph as an object: made from data and turned back, measured, drawn, exported."""

from structformer.graph.columns import plot_columns
from structformer.graph.labels import Labels
from structformer.graph.token_graph import TokenGraph

__all__ = ["Labels", "TokenGraph", "plot_columns"]

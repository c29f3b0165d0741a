"""Kernels on the rows of a CSR graph: neighbour search, row normalisers, attention along edges."""

from structformer.ops.attention import edge_weights, sparse_attention
from structformer.ops.backend import backend, force_backend
from structformer.ops.dropout import dropout
from structformer.ops.entmax import (
    Normalizer,
    normalize_rows,
    segment_entmax,
    segment_softmax,
    segment_sparsemax,
)
from structformer.ops.graph_filter import graph_filter
from structformer.ops.host_memory import keep_freed_memory
from structformer.ops.linear_maps import edge_dot, edge_sum
from structformer.ops.neighbors import neighbors
from structformer.ops.paths import attention_path
from structformer.ops.recall import neighbor_recall
from structformer.ops.search.choose import search_method
from structformer.ops.segment import gather, segment_max, segment_sum

__all__ = [
    "Normalizer",
    "attention_path",
    "backend",
    "dropout",
    "edge_dot",
    "edge_sum",
    "edge_weights",
    "force_backend",
    "gather",
    "graph_filter",
    "keep_freed_memory",
    "neighbor_recall",
    "neighbors",
    "normalize_rows",
    "search_method",
    "segment_entmax",
    "segment_max",
    "segment_softmax",
    "segment_sparsemax",
    "segment_sum",
    "sparse_attention",
]

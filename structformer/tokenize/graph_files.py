"""Files to graphs: graphml, gexf, gml and edge lists, read into networkx."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd

from structformer.tokenize.files import TABLE_SUFFIXES, error_line, existing_file, read_table

GRAPH_SUFFIXES = (".graphml", ".gexf", ".gml", ".edgelist")


def read_graph(path: str | Path) -> nx.Graph:
    """Read a graph from a ``.graphml``, ``.gexf``, ``.gml`` or ``.edgelist`` file.

    An edge list has one undirected edge a line, ``source target`` or ``source target weight``, separated by
    blanks or commas; ``#`` starts a comment. GEXF and GML labels become the names of the nodes where no
    two nodes share one.

    Raises:
        ValueError: The suffix is unknown, the file is empty or damaged, or the graph has no nodes.
        OSError: The file cannot be opened.
    """
    path = existing_file(path, GRAPH_SUFFIXES, "a graph")
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], nx.Graph]] = {
        ".graphml": nx.read_graphml,
        ".gexf": lambda file: _named_by_label(nx.read_gexf(file)),
        ".gml": lambda file: _named_by_label(nx.read_gml(file, label="id")),
        ".edgelist": _read_edge_list,
    }
    try:
        graph = readers[suffix](path)
    except (_BadLine, OSError):
        raise
    # The parsers behind these formats fail in their own ways: XML errors, missing keys, empty iterators.
    except Exception as error:
        raise ValueError(f"{path} is not a readable {suffix[1:]} file: {error_line(error)}") from error
    if graph.number_of_nodes() == 0:
        raise ValueError(f"{path} holds a graph without nodes")
    return graph


def read_input(path: str | Path, delimiter: str = ",") -> pd.DataFrame | nx.Graph:
    """Read a table or a graph, as the suffix of the file says."""
    path = existing_file(path, (*TABLE_SUFFIXES, *GRAPH_SUFFIXES), "a table or a graph")
    return read_graph(path) if path.suffix.lower() in GRAPH_SUFFIXES else read_table(path, delimiter)


class _BadLine(ValueError):
    pass


def _named_by_label(graph: nx.Graph) -> nx.Graph:
    """Name nodes by their ``label``, which is a name and no feature, unless labels repeat."""
    labels: dict[Any, Any] = dict(graph.nodes(data="label"))
    for _, attributes in graph.nodes(data=True):
        attributes.pop("label", None)
    if None in labels.values() or len(set(labels.values())) < len(labels):
        return graph
    return nx.relabel_nodes(graph, labels)


def _read_edge_list(path: Path) -> nx.Graph:
    graph = nx.Graph()
    for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = text.partition("#")[0].replace(",", " ").split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        if len(fields) not in (2, 3):
            raise _BadLine(f"{where}: expected 'source target [weight]' (got {text.strip()[:60]!r})")
        weight = {"weight": _weight(fields[2], where)} if len(fields) == 3 else {}
        graph.add_edge(fields[0], fields[1], **weight)
    return graph


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise _BadLine(f"{where}: weight must be a finite number (got {text!r})")
    return weight

"""TokenGraph as a table of edges, and as files of other tools: parquet, GraphML, GEXF."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
from torch import Tensor

from structformer.graph.convert import node_keys
from structformer.graph.labels import as_array
from structformer.writing import replacing, writable

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

# What XML 1.0 has no way to write, not even escaped: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_frame(graph: "TokenGraph") -> pd.DataFrame:
    """A table of the edges of all steps, one row an edge, in the order of steps, targets and sources.

    Returns:
        A DataFrame with the columns `step` (1 is the first), `source` and `target` (positions of
        tokens), `weight` (the mean over heads; 1 without weights); `head_0`, `head_1`, … with weights
        for each head (missing in steps that have fewer); `given`, True where the edge came with the
        data (if known); `support`, how much the edge speaks for what was predicted (if known);
        `source_name` and `target_name` (where there are names).
    """
    steps = graph.steps
    heads = max((_heads(step) for step in steps), default=0)
    marked = any(step.given is not None for step in steps)
    speaking = any(step.support is not None for step in steps)
    parts: list[pd.DataFrame] = []
    for number, step in enumerate(steps, 1):
        columns: dict[str, Any] = {
            "step": np.full(step.num_edges, number),
            "source": step.col.cpu().numpy(),
            "target": step.row.cpu().numpy(),
            "weight": _numbers(step.mean_weight()),
        }
        for head in range(heads):
            weight = None if head >= _heads(step) else step.weight
            columns[f"head_{head}"] = np.nan if weight is None else _numbers(weight[:, head])
        if marked:
            given = None if step.given is None else step.given.cpu().numpy()
            columns["given"] = pd.array([pd.NA] * step.num_edges if given is None else given, dtype="boolean")
        if speaking:
            columns["support"] = np.nan if step.support is None else _numbers(step.support)
        parts.append(pd.DataFrame(columns))
    frame = pd.concat(parts, ignore_index=True)
    source_names = graph.source_names if graph.is_bipartite else graph.names
    for side, names in (("source", source_names), ("target", graph.names)):
        if names is not None:
            # UTF-8, and so parquet, cannot hold half of a surrogate pair.
            texts = [str(name).encode("utf-8", "replace").decode() for name in names]
            frame[f"{side}_name"] = pd.array([texts[i] for i in frame[side].tolist()], dtype="string")
    return frame


def _heads(graph: "TokenGraph") -> int:
    return 0 if graph.weight is None or graph.weight.ndim == 1 else graph.weight.shape[1]


def _numbers(weight: Tensor) -> np.ndarray:
    """As numpy, which knows no bfloat16; parquet's readers seldom know half precision."""
    weight = weight.detach().cpu()
    return (weight if weight.element_size() >= 4 else weight.float()).numpy()


def to_parquet(graph: "TokenGraph", path: str | Path) -> Path:
    """Write the table of `to_frame` to a `.parquet` file, which is there as a whole or not at all.

    Returns:
        The path written.

    Raises:
        ValueError: If the path has another suffix or is a directory.
        OSError: If the file cannot be written.
    """
    path = writable(path, [".parquet"])
    frame = to_frame(graph)
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)
    return path


def to_graphml(graph: "TokenGraph", path: str | Path) -> Path:
    """Write this step of the graph to a `.graphml` (or `.xml`) file, there as a whole or not at all.

    Nodes are as in `to_networkx`, with the attributes `name`, `label` (known labels alone), `set`
    (its number, where there are boundaries) and `side` ("target" or "source", bipartite only);
    edges run from source to target and have `weight` and, if known, `given` and `support`. Labels of several types
    become texts. Characters that XML cannot hold become U+FFFD, carriage returns line feeds. Where
    names are missing, empty or no longer differ, nodes are positions, and `name` still has the name.

    Returns:
        The path written.

    Raises:
        ValueError: If the path has another suffix or is a directory.
        OSError: If the file cannot be written.
    """
    path = writable(path, [".graphml", ".xml"])
    content = _for_xml(graph, "label")
    with replacing(path) as temporary, temporary.open("wb") as file:
        nx.write_graphml(content, file)
    return path


def to_gexf(graph: "TokenGraph", path: str | Path) -> Path:
    """Write this step of the graph to a `.gexf` file, as Gephi reads it.

    As `to_graphml`, but for GEXF's own `label`, which is a token's name; the token's label is
    `token_label`.

    Returns:
        The path written.

    Raises:
        ValueError: If the path has another suffix or is a directory.
        OSError: If the file cannot be written.
    """
    path = writable(path, [".gexf"])
    content = _for_xml(graph, "token_label")
    for _, attributes in content.nodes(data=True):
        # GEXF's own label is what a picture writes beside a node.
        attributes["label"] = attributes.pop("name")
    with replacing(path) as temporary, temporary.open("wb") as file:
        nx.write_gexf(content, file)
    return path


def _for_xml(graph: "TokenGraph", label_key: str) -> nx.DiGraph:
    """A networkx graph whose texts and values an XML format can hold."""
    targets, sources = graph.num_targets, graph.num_sources if graph.is_bipartite else 0
    names: list[str] = [str(name) for name in graph.names or range(targets)]
    if sources:
        names += [str(name) for name in graph.source_names or range(sources)]
    names = [_xml_text(name) for name in names]
    named = graph.names is not None and (not sources or graph.source_names is not None)
    keys = [str(key) for key in node_keys(names if named and all(names) else None, targets + sources)]
    labels = [*_labels(graph.labels, targets), *_labels(graph.source_labels, sources)]
    labels = _of_one_type(labels)
    home = None
    if graph.ptr is not None:
        sizes = graph.ptr.diff().cpu().numpy()
        home = np.repeat(np.arange(len(sizes)), sizes).tolist()
    out = nx.DiGraph()
    for i, (key, name, label) in enumerate(zip(keys, names, labels, strict=True)):
        attributes: dict[str, Any] = {"name": name}
        if sources:
            attributes["side"] = "target" if i < targets else "source"
        if home is not None and i < targets:
            attributes["set"] = home[i]
        if label is not None:
            attributes[label_key] = label
        out.add_node(key, **attributes)
    offset = targets if graph.is_bipartite else 0
    given = None if graph.given is None else graph.given.tolist()
    support = None if graph.support is None else graph.support.tolist()
    ends = zip(graph.col.tolist(), graph.row.tolist(), graph.mean_weight().tolist(), strict=True)
    for edge, (source, target, weight) in enumerate(ends):
        marks: dict[str, Any] = {} if given is None else {"given": given[edge]}
        if support is not None:
            marks["support"] = support[edge]
        out.add_edge(keys[source + offset], keys[target], weight=weight, **marks)
    return out


def _labels(labels: Any, count: int) -> list[Any]:
    """Python values, None where unknown; all unknown if there are none."""
    if labels is None:
        return [None] * count
    # Tuples stay what they are, and numpy's dates do not become numbers.
    values = pd.Series(as_array(labels) if isinstance(labels, Tensor) else labels, dtype=object).tolist()
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [None if value is None or value is pd.NA or value != value else value for value in values]


def _of_one_type(values: list[Any]) -> list[Any]:
    """The formats give an attribute one type: all bool, all int, all finite numbers, or else all texts."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in known):
        return values
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if numbers and all(isinstance(value, int) and abs(value) < 2**63 for value in known):
        return values
    if numbers and all(math.isfinite(value) for value in known):
        return [None if value is None else float(value) for value in values]
    return [None if value is None else _xml_text(str(value)) for value in values]


def _xml_text(text: str) -> str:
    """What XML cannot hold is replaced; a carriage return would be read as a line feed and is written as one."""
    return _NOT_XML.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))

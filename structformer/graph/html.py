"""TokenGraph in a notebook: its statistics, a small picture and its strongest edges."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from structformer import markup
from structformer.graph.colours import colouring
from structformer.graph.stats import summarize
from structformer.graph.structure import between, by

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

# Beyond these a notebook would have to wait for the picture.
MOST_DRAWN = 300_000
_STRONGEST = 5


def to_html(graph: "TokenGraph") -> str:
    """What a notebook shows: statistics, a small picture, the strongest edges by name."""
    title, subtitle = "TokenGraph", markup.text(repr(graph)[len("TokenGraph(") : -1], 120)
    if any(part is not None and part.is_meta for part in (graph.rowptr, graph.col, graph.weight)):
        return markup.block(title, subtitle, [], "Its tensors are on the meta device and hold no values.")
    graph = _sound(graph)
    speaking = by(graph) is not graph
    weight = graph.mean_weight()
    if not bool(torch.isfinite(weight).all()):
        return markup.block(title, subtitle, [], "Some of its weights are not finite.")
    colours = colouring(graph)
    rows = [
        (markup.text(name), "unknown" if value == "nan" else markup.text(value, 80))
        for name, value in summarize(graph).rows()
        # Numbers on a scale are hardly ever equal.
        if name != "homophily" or colours.values is None
    ]
    rows += [(name, markup.text(value)) for name, value in _further(graph)]
    graph = by(graph)
    tables = [markup.table(rows), _strongest(graph, "support" if speaking else "weight")]
    if graph.num_edges > MOST_DRAWN:
        return markup.block(title, subtitle, tables, "Too large for a picture at a glance; plot() draws it.")
    from structformer.graph.svg import picture

    meaning = "the more an edge speaks for the prediction" if speaking else "the greater the weight"
    drawn, note = picture(graph, colours, meaning)
    return markup.block(title, subtitle, [drawn, *tables], note)


def _further(graph: "TokenGraph") -> list[tuple[str, str]]:
    """What the summary leaves out."""
    rows: list[tuple[str, str]] = []
    if graph.weight is not None and graph.weight.ndim > 1:
        rows.append(("heads", str(graph.weight.shape[1])))
    if graph.ptr is not None:
        rows.append(("sets", f"{graph.ptr.numel() - 1:,}"))
    if graph.earlier:
        rows.append(("steps", str(len(graph.steps))))
    if graph.given is not None and graph.num_edges:
        rows.append(("given edges", f"{int(graph.given.sum()):,}"))
    return rows


def _sound(graph: "TokenGraph") -> "TokenGraph":
    """The graph without names, labels and steps that do not fit it: the constructor takes them as they are."""
    graph = copy.copy(graph)
    counts = (graph.num_targets, graph.num_sources)
    for name, count in (
        ("names", counts[0]),
        ("labels", counts[0]),
        ("source_names", counts[1]),
        ("source_labels", counts[1]),
    ):
        value: Any = getattr(graph, name)
        if value is not None and (np.ndim(value) != 1 or len(value) != count):
            setattr(graph, name, None)
    if any((step.num_targets, step.num_sources) != counts for step in graph.earlier):
        graph.earlier = ()
    return graph


def _strongest(graph: "TokenGraph", strength: str) -> str:
    """The strongest edges between two tokens, by name."""
    weight = between(graph).tocoo()
    values = np.asarray(weight.data, dtype=np.float64)
    order = np.argsort(-values, kind="stable")[:_STRONGEST]
    sources = graph.source_names if graph.is_bipartite else graph.names
    rows = [
        (
            markup.name(graph.names[target] if graph.names else target, 28),
            markup.name(sources[source] if sources else source, 28),
            f"{value:.3g}",
        )
        for target, source, value in zip(
            weight.row[order].tolist(), weight.col[order].tolist(), values[order].tolist(), strict=True
        )
    ]
    return markup.table(rows, "Strongest edges", ("listens", "to", strength), numbers=True)

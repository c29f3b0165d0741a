"""A section about any fitted estimator: what its learned graph looks like on given data."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import networkx as nx
import numpy as np
import pandas as pd

from structformer.graph import Labels, TokenGraph
from structformer.inspect.colours import plain, shorten
from structformer.inspect.inside import holds_reasoning, reasoning
from structformer.inspect.section import Section


@runtime_checkable
class LearnsGraph(Protocol):
    """An estimator that can show the graph it learned."""

    def learned_graph(self, X: Any) -> TokenGraph:
        """The graph over the tokens of ``X``."""
        ...


def model_section(
    model: LearnsGraph,
    data: Any,
    y: Labels | None = None,
    *,
    title: str,
    text: str = "",
    metrics: pd.DataFrame | None = None,
) -> Section:
    """Describe the graph that a fitted model learns over ``data``, and for tables its column map.

    Of a ReSSFormer the section also shows what went on inside: experts, memory slots and steps (`reasoning`).

    Args:
        model: A fitted estimator. If it has ``predict``, tokens can be coloured by prediction.
        data: What ``model.learned_graph`` takes: a table, a graph, graphs, or sets.
        y: True labels, one for each row, node, graph or set; None where unknown.
        title: Heading.
        text: Paragraphs below it.
        metrics: Scores, one row for each model.

    Raises:
        ValueError: ``y`` does not have one entry for each row, node, graph or set.
    """
    graph = model.learned_graph(data)
    predict = getattr(model, "predict", None)
    answers: dict[str, Any] = {}
    if y is not None:
        answers["label"] = plain(y, len(y))
    if predict is not None:
        answers["prediction"] = predict(data)
    sets = 1 if graph.ptr is None else len(graph.ptr) - 1
    for name, values in answers.items():
        if len(values) not in (graph.num_targets, sets):
            argument = "y" if name == "label" else name
            raise ValueError(
                f"{argument} must have {graph.num_targets} entries, one for each token, "
                f"or {sets}, one for each set (got {len(values)})"
            )
    colours = {name: values for name, values in answers.items() if len(values) == graph.num_targets}
    # Sources are training tokens: what is known of them is their label, whichever colour is asked for.
    known: Any = graph.source_labels if graph.is_bipartite else None
    source_colours: dict[str, Any] = {} if known is None else dict.fromkeys(colours, known)
    inside = reasoning(model, data) if holds_reasoning(model) else None
    if inside is not None and inside.taken is not None:
        tokens = inside.tokens
        if tokens.columns is None:
            colours["steps taken"] = inside.taken
        elif tokens.sets == graph.num_targets:
            colours["steps taken"] = inside.taken.reshape(tokens.sets, -1).mean(1)
    columns = getattr(model, "column_graph", None)
    table = data if isinstance(data, pd.DataFrame) and len(data) == graph.num_targets else None
    return Section(
        title,
        text,
        metrics=metrics,
        graph=graph,
        colours=colours,
        source_colours=source_colours,
        data=table if table is not None else _node_data(data, graph),
        set_names=_set_names({k: v for k, v in answers.items() if k not in colours}, sets),
        columns=None if columns is None else columns(data),
        reasoning=inside,
        token="row" if columns is not None else "node" if isinstance(data, nx.Graph) else "token",
    )


def _set_names(answers: dict[str, Any], sets: int) -> list[str] | None:
    if not answers or sets < 2:
        return None
    listed = {name: plain(values, sets) for name, values in answers.items()}
    return [
        ", ".join(
            f"{name} {shorten(values[i], 12)}" for name, values in listed.items() if values[i] is not None
        )
        or f"set {i + 1}"
        for i in range(sets)
    ]


def _node_data(data: Any, graph: TokenGraph) -> pd.DataFrame | None:
    """The node attributes of a networkx graph, where its nodes are the tokens."""
    if not isinstance(data, nx.Graph) or data.number_of_nodes() != graph.num_targets:
        return None
    frame = pd.DataFrame([attributes for _, attributes in data.nodes(data=True)]).astype(object)
    frame.insert(0, "degree", np.array([degree for _, degree in data.degree()]), allow_duplicates=True)
    return frame.where(frame.notna(), "")

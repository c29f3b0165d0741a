"""The tables of a report: scores of models, and statistics of a learned graph by step."""

from __future__ import annotations

import copy
import math
from typing import Any

import pandas as pd

from structformer.graph import Labels, TokenGraph
from structformer.inspect.colours import is_scale, plain, shorten
from structformer.inspect.statistics import graph_statistics

# For each statistic its name, what it means, and how to write it.
_STATISTICS = {
    "edges": ("edges", "of the graph, self-loops included", "{:,.0f}"),
    "degree": ("degree", "edges into a token, on average", "{:.1f}"),
    "effective_degree": ("effective degree", "how many a token listens to, had they equal weight", "{:.2f}"),
    "entropy": ("entropy", "of a token's weights, in nats, on average", "{:.2f}"),
    "self_weight": ("own weight", "share of the weight that tokens put on themselves", "{:.1%}"),
    "given_weight": ("given edges", "share of the weight on edges that came with the data", "{:.1%}"),
    "homophily": ("homophily", "share of the weight between tokens of equal label", "{:.1%}"),
    "chance": ("by chance", "the homophily of weight spread evenly", "{:.1%}"),
    "lift": ("lift", "homophily over what chance gives", "{:.2f}"),
    "change": ("change", "squared change of the weights since the step before, per token", "{:.3g}"),
}


def score_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Lay out scores, one row for each model; those of a column that stays in [0, 1] have bars as long as they are."""
    columns = [plain(frame.iloc[:, place], 0) for place in range(frame.shape[1])]
    numbers = [[isinstance(value, int | float) for value in column] for column in columns]
    barred = [
        all(is_number and 0 <= value <= 1 for value, is_number in zip(column, is_numbers, strict=True))
        for column, is_numbers in zip(columns, numbers, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    for row, name in enumerate(frame.index):
        cells: list[dict[str, Any]] = []
        for column, is_numbers, bar in zip(columns, numbers, barred, strict=True):
            value = column[row]
            text = _number(value, bar) if is_numbers[row] else "" if value is None else shorten(value, 80)
            cells.append({"text": text, "share": value if bar else None, "number": is_numbers[row]})
        rows.append({"name": shorten(name, 80), "cells": cells})
    return {"columns": [str(name) for name in frame.columns], "rows": rows}


def _number(value: float, is_share: bool) -> str:
    """A score with as many digits as it is worth reading; shares in a column all have three."""
    if is_share:
        return f"{value:.3f}"
    if not math.isfinite(value):
        return str(value)
    return (
        f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
    )


def statistics_table(
    graph: TokenGraph, labels: Labels | None = None, source_labels: Labels | None = None
) -> dict[str, Any]:
    """Lay out the statistics of ``graph``, a column for each step; homophily only with labels that are classes."""
    # A graph may carry the few labels it was trained on; they do not count here.
    graph = copy.copy(graph)
    graph.labels = None
    targets, sources = _classes(labels, graph.num_targets), _classes(source_labels, graph.num_sources)
    frame = graph_statistics(graph, targets, sources)
    rows: list[dict[str, Any]] = []
    for key, (name, meaning, form) in _STATISTICS.items():
        if key in frame.columns:
            cells = ["n/a" if math.isnan(value) else form.format(value) for value in frame[key].tolist()]
            rows.append({"name": name, "meaning": meaning, "cells": cells})
    return {"steps": [f"step {step}" for step in frame.index], "rows": rows}


def _classes(values: Labels | None, count: int) -> list[str | None] | None:
    """Labels as texts, None where unknown, if there are any that are classes."""
    known = plain(values, count)
    if values is None or is_scale(known):
        return None
    return [None if value is None else str(value) for value in known]

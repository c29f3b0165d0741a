"""Self-contained HTML pages about learned graphs: one file, nothing fetched, readable without a server."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from structformer.graph import Labels
from structformer.inspect.colours import is_scale, plain, shorten
from structformer.inspect.embed import json_for_page
from structformer.inspect.heatmap import heat_map
from structformer.inspect.picture import Limits, graph_picture
from structformer.inspect.section import Section
from structformer.inspect.statistics import graph_statistics
from structformer.tokenize.files import replacing

_MOST_BYTES = 5_000_000

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


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a page that shows learned graphs step by step, their statistics, scores and column maps.

    The page needs no network and no server, follows the reader's light or dark setting, and its controls
    work from the keyboard. Graphs of more than 400 tokens are drawn in part, with a note; statistics are
    of the whole graph. The file is written under a temporary name and renamed.

    Args:
        path: Where to write; missing directories are made.
        title: Heading of the page.
        sections: What to show, in order.

    Returns:
        The path written to.

    Raises:
        ValueError: There are no sections.
        OSError: The file cannot be written.
    """
    if not sections:
        raise ValueError("sections must hold at least one section (got none)")
    path = Path(path)
    page = render_report(title, sections)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def render_report(title: str, sections: Sequence[Section]) -> str:
    """The page of `write_report` as a string; of many large graphs less is drawn, to stay below 5 MB."""
    assets = files("structformer.inspect")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(assets.joinpath("report.html").read_text(encoding="utf-8"))
    style = Markup(assets.joinpath("report.css").read_text(encoding="utf-8"))
    script = Markup(assets.joinpath("report.js").read_text(encoding="utf-8"))
    page = ""
    # A section holds about a quarter of a megabyte: what is sure to be too much is not tried.
    graphs = sum(section.graph is not None for section in sections)
    for share in [share for share in (1.0, 0.5, 0.25, 0.125) if share * graphs <= 20] + [0.06]:
        views = [_view(section, Limits().scaled(share)) for section in sections]
        page = template.render(title=title, style=style, script=script, sections=views)
        if len(page.encode()) < _MOST_BYTES:
            break
    return page


def _view(section: Section, limits: Limits) -> dict[str, Any]:
    view: dict[str, Any] = {
        "title": section.title,
        "paragraphs": [part.strip() for part in section.text.split("\n\n") if part.strip()],
        "token": section.token,
        "metrics": None if section.metrics is None else _metrics(section.metrics),
        "heat": None if section.columns is None else heat_map(section.columns, limits.columns),
        "graph": None,
    }
    if section.graph is not None:
        picture = graph_picture(section, limits)
        view |= {
            "graph": json_for_page(picture),
            "steps": len(picture["steps"]),
            "colours": [colour["name"] for colour in picture["colours"]],
            "note": picture["note"],
            "bipartite": section.graph.is_bipartite,
            "ringed": bool(picture["ringed"]),
            "statistics": _statistics(section),
        }
    return view


def _metrics(frame: pd.DataFrame) -> dict[str, Any]:
    """Rows of the score table; scores of a column that stays in [0, 1] have bars as long as they are."""
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
            text = f"{value:.4g}" if is_numbers[row] else "" if value is None else shorten(value, 80)
            cells.append({"text": text, "share": value if bar else None, "number": is_numbers[row]})
        rows.append({"name": shorten(name, 80), "cells": cells})
    return {"columns": [str(name) for name in frame.columns], "rows": rows}


def _statistics(section: Section) -> dict[str, Any]:
    graph = section.graph
    if graph is None:
        return {}
    # A graph may carry the few labels it was trained on; only what the section calls labels counts.
    graph = copy.copy(graph)
    graph.labels = None
    labels = _labels(section.colours.get("label"), graph.num_targets)
    sources = _labels(section.source_colours.get("label"), graph.num_sources)
    frame = graph_statistics(graph, labels, sources)
    rows: list[dict[str, Any]] = []
    for key, (name, meaning, form) in _STATISTICS.items():
        if key in frame.columns:
            cells = ["n/a" if math.isnan(value) else form.format(value) for value in frame[key].tolist()]
            rows.append({"name": name, "meaning": meaning, "cells": cells})
    return {"steps": [f"step {step}" for step in frame.index], "rows": rows}


def _labels(values: Labels | None, count: int) -> list[str | None] | None:
    """Labels as texts, None where unknown, if there are any that are classes."""
    known = plain(values, count)
    if values is None or is_scale(known):
        return None
    return [None if value is None else str(value) for value in known]

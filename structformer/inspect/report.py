"""Self-contained HTML pages about learned graphs: one file, nothing fetched, readable without a server."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from structformer.inspect.embed import json_for_page
from structformer.inspect.heatmap import heat_map
from structformer.inspect.picture import Limits, graph_picture
from structformer.inspect.report_evidence import evidence_view
from structformer.inspect.report_reasoning import reasoning_view
from structformer.inspect.report_tables import score_table, statistics_table
from structformer.inspect.section import Section
from structformer.writing import replacing

_MOST_BYTES = 5_000_000
_STYLES = ("report.css", "report_graph.css", "report_evidence.css", "report_reasoning.css")
_SCRIPTS = (
    "report_tools.js",
    "report_view.js",
    "report_tip.js",
    "report_legend.js",
    "report_graph.js",
    "report_evidence.js",
    "report_reasoning.js",
    "report_columns.js",
    "report.js",
)


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a page that shows learned graphs step by step, what led to them, scores, column maps and evidence.

    The page needs no network and no server, follows the reader's light or dark setting, and its controls
    work from the keyboard. Graphs of more than 2,000 tokens are drawn in part, with a note, and so are
    smaller ones where there are many; statistics are of the whole graph. The file is written under a
    temporary name and renamed.

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
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=jinja2.FunctionLoader(_asset)
    )
    template = environment.get_template("report.html")
    style, script = (Markup("\n".join(map(_asset, names))) for names in (_STYLES, _SCRIPTS))
    page = ""
    for share in (1.0, 0.5, 0.25, 0.125, 0.06):
        limits = Limits().scaled(share)
        # Laying out large graphs takes seconds: what is sure to be too much is not tried.
        if share > 0.06 and sum(_least_bytes(section, limits) for section in sections) > _MOST_BYTES:
            continue
        views = [_view(section, limits) for section in sections]
        page = template.render(title=title, style=style, script=script, sections=views)
        if len(page.encode()) < _MOST_BYTES:
            break
    return page


def _asset(name: str) -> str:
    return files("structformer.inspect").joinpath(name).read_text(encoding="utf-8")


def _least_bytes(section: Section, limits: Limits) -> int:
    """About how much of the page a section takes."""
    columns = 0 if section.columns is None else min(len(section.columns), limits.columns)
    total = 110 * columns**2
    if section.graph is not None:
        fields = 0 if section.data is None else min(section.data.shape[1], limits.fields)
        total += min(section.graph.num_targets, limits.nodes) * (40 + 3 * len(section.colours) + 7 * fields)
        kinds = 1 if section.graph.by() is section.graph else 2
        total += sum(15 * kinds * min(step.num_edges, limits.edges) for step in section.graph.steps)
        if section.reasoning is not None and section.reasoning.routing is not None:
            active = section.reasoning.routing.chosen.shape[3]
            total += min(section.graph.num_targets, limits.nodes) * len(section.graph.steps) * 7 * active
    return total


def _view(section: Section, limits: Limits) -> dict[str, Any]:
    view: dict[str, Any] = {
        "title": section.title,
        "paragraphs": [part.strip() for part in section.text.split("\n\n") if part.strip()],
        "token": section.token,
        "metrics": None if section.metrics is None else score_table(section.metrics),
        "heat": None if section.columns is None else heat_map(section.columns, limits.columns),
        "graph": None,
        "evidence": None,
        "reasoning": None,
    }
    if section.reasoning is not None:
        view["reasoning"] = reasoning_view(section.reasoning, section.token, section.set_names)
    if section.evidence is not None:
        evidence, listened = evidence_view(section.evidence), section.evidence.graph
        view["evidence"] = evidence | {
            "json": json_for_page({name: evidence[name] for name in ("steps", "listened")}),
            "speaking": evidence["listened"] is not None,
            "steps": len(evidence["steps"]),
            "statistics": None if listened is None else statistics_table(listened),
        }
    if section.graph is not None:
        picture = graph_picture(section, limits)
        view |= {
            "graph": json_for_page(picture),
            "steps": len(picture["steps"]),
            "speaking": picture["listened"] is not None,
            "colours": [colour["name"] for colour in picture["colours"]],
            "note": picture["note"],
            "many": len(picture["names"]) > 60,
            "bipartite": section.graph.is_bipartite,
            "ringed": bool(picture["ringed"]),
            "statistics": statistics_table(
                section.graph, section.colours.get("label"), section.source_colours.get("label")
            ),
        }
    return view

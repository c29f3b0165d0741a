"""Learned graphs for people: statistics by step, and self-contained HTML reports."""

from structformer.inspect.model import model_section
from structformer.inspect.report import render_report, write_report
from structformer.inspect.report_evidence import evidence_section
from structformer.inspect.section import Section
from structformer.inspect.statistics import chance_homophily, graph_statistics

__all__ = [
    "Section",
    "chance_homophily",
    "evidence_section",
    "graph_statistics",
    "model_section",
    "render_report",
    "write_report",
]

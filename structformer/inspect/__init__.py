"""Learned graphs for people: statistics, faithfulness, agreement with a true graph, self-contained HTML reports."""

from structformer.inspect.agreement import edge_agreement, stability
from structformer.inspect.attribution import edge_attribution
from structformer.inspect.explainer import ExplainedModel
from structformer.inspect.faithfulness import faithfulness
from structformer.inspect.inside import Reasoning, reasoning
from structformer.inspect.model import model_section
from structformer.inspect.named import NamedTokens
from structformer.inspect.report import render_report, write_report
from structformer.inspect.report_evidence import evidence_section
from structformer.inspect.routing import Routing
from structformer.inspect.section import Section
from structformer.inspect.slots import Slots
from structformer.inspect.statistics import chance_homophily, graph_statistics

__all__ = [
    "ExplainedModel",
    "NamedTokens",
    "Reasoning",
    "Routing",
    "Section",
    "Slots",
    "chance_homophily",
    "edge_agreement",
    "edge_attribution",
    "evidence_section",
    "faithfulness",
    "graph_statistics",
    "model_section",
    "reasoning",
    "render_report",
    "stability",
    "write_report",
]

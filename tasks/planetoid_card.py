"""What the citation graphs' task is, and what others have published for its three protocols."""

from __future__ import annotations

from .task_card import Published, TaskCard


def _figures(protocol: str, cora: str, citeseer: str, pubmed: str) -> dict[str, str]:
    return {
        f"{name}, {protocol}": figure
        for name, figure in (("cora", cora), ("citeseer", citeseer), ("pubmed", pubmed))
        if figure
    }


CARD = TaskCard(
    name="planetoid",
    title="Node classification in citation graphs",
    family="nodes",
    measure="accuracy, %",
    headline="soes, both",
    protocol="Public split: 20 labels a class to learn from, 500 nodes to choose by, 1,000 asked for. Random split: "
    "the same numbers, one class-balanced draw with seed 123, 5 seeds of weights. No graph: the public split without "
    "its edges. Each arm chooses among four configurations (PubMed: two) by validation accuracy of the first seed.",
    figures={"changed": "changed by order, %", "largest": "largest change"},
    published=(
        Published(
            "GCN", _figures("public", "81.5", "70.3", "79.0"), "Kipf and Welling 2017 (arXiv 1609.02907)"
        ),
        Published(
            "GAT", _figures("public", "83.0", "72.5", "79.0"), "Velickovic et al. 2018 (arXiv 1710.10903)"
        ),
        Published(
            "IDGL", _figures("public", "84.0", "73.1", "83.0"), "as printed by SUBLIME (arXiv 2201.06367)"
        ),
        Published(
            "SUBLIME, refined graph",
            _figures("public", "84.2", "73.5", "81.0"),
            "Liu et al. 2022 (arXiv 2201.06367)",
        ),
        Published(
            "SLAPS", _figures("no graph", "73.4", "72.6", "74.4"), "Fatemi et al. 2021 (arXiv 2102.05034)"
        ),
        Published(
            "SUBLIME", _figures("no graph", "73.0", "73.1", "73.8"), "Liu et al. 2022 (arXiv 2201.06367)"
        ),
        Published(
            "tuned GCN",
            _figures("random split", "85.1", "73.1", "81.1"),
            "Luo et al. 2024 (arXiv 2406.08993)",
        ),
        Published(
            "SGFormer", _figures("random split", "84.5", "72.6", "80.3"), "Wu et al. 2023 (arXiv 2306.10759)"
        ),
        Published(
            "NodeFormer", _figures("random split", "82.2", "72.5", "79.9"), "as printed by arXiv 2306.10759"
        ),
        Published("GraphGPS", _figures("random split", "76.5", "", "65.7"), "as printed by arXiv 2306.10759"),
    ),
)

"""Statistics of a learned graph, one row a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from structformer.graph import Labels, TokenGraph
from structformer.graph.labels import label_codes


def graph_statistics(
    graph: TokenGraph, labels: Labels | None = None, source_labels: Labels | None = None
) -> pd.DataFrame:
    """Tabulate how sparse, how local and how pure the learned graph is at each of its steps.

    Args:
        graph: A learned graph; its earlier steps are included.
        labels: One label for each target, `[targets]`; by default the graph's own. Negative integers, NaN
            and None are unknown labels.
        source_labels: One label for each source of a bipartite graph, `[sources]`.

    Returns:
        A frame indexed by ``step`` (1 is the first) with the columns ``edges``; ``degree``, edges into a
        target, and ``effective_degree``, exp of the ``entropy`` (nats) of a target's weights, all three
        averaged over targets; ``self_weight``, the share of weight on self-loops (square graphs);
        ``given_weight``, the share on the data's own edges (where they are marked); with labels
        ``homophily``, the weighted share of edges between equal labels, ``chance``, what it would be were
        sources drawn evenly from the target's own set, and ``lift``, their ratio; and with several steps
        ``change``, ‖A(t) − A(t−1)‖²_F per target. What does not apply has no column.

    Raises:
        ValueError: The labels do not fit the graph.
    """
    labels = graph.labels if labels is None else labels
    source_labels = graph.source_labels if source_labels is None else source_labels
    labelled = labels is not None and (not graph.is_bipartite or source_labels is not None)
    rows: list[dict[str, float]] = []
    steps = [
        step if step.weight is None else step.with_weight(step.weight.detach().double())
        for step in graph.steps
    ]
    for step, current in enumerate(steps):
        weight = current.mean_weight()
        total = float(weight.sum()) or 1.0
        row: dict[str, float] = {
            "edges": current.num_edges,
            "degree": current.num_edges / max(current.num_targets, 1),
            "effective_degree": _mean(current.effective_degree()),
            "entropy": _mean(current.entropy()),
        }
        if not current.is_bipartite:
            row["self_weight"] = float(weight[current.row == current.col].sum()) / total
        if current.given is not None:
            row["given_weight"] = float(weight[current.given].sum()) / total
        if labelled:
            row["homophily"] = current.homophily(labels, source_labels)
            row["chance"] = chance_homophily(current, labels, source_labels)
            row["lift"] = row["homophily"] / row["chance"] if row["chance"] else np.nan
        if step:
            row["change"] = float(current.change(steps[step - 1]))
        rows.append(row)
    index = pd.RangeIndex(1, len(rows) + 1, name="step")
    return pd.DataFrame(rows, index=index).astype({"edges": int})


def chance_homophily(graph: TokenGraph, labels: Labels | None, source_labels: Labels | None = None) -> float:
    """The homophily to expect if every target spread its weight evenly over its own set, itself left out.

    With W_i the weight that target i puts on other tokens of known label, and p_i the share of i's label
    among the other sources of its set: Σ_i W_i p_i / Σ_i W_i. The sources of a bipartite graph are one set.

    Returns:
        A number in [0, 1], or nan if no edge counts.
    """
    targets, sources = _codes(graph, labels, source_labels)
    row, col = graph.row.cpu().numpy(), graph.col.cpu().numpy()
    counted = (targets[row] >= 0) & (sources[col] >= 0)
    if not graph.is_bipartite:
        counted &= row != col
    weight = graph.mean_weight().detach().double().cpu().numpy() * counted
    out = np.bincount(row, weights=weight, minlength=graph.num_targets)
    set_of = np.zeros(graph.num_targets, dtype=np.int64)
    if graph.ptr is not None and not graph.is_bipartite:
        sizes = graph.ptr.diff().cpu().numpy()
        set_of = np.repeat(np.arange(len(sizes)), sizes)
    source_set = np.zeros(graph.num_sources, dtype=np.int64) if graph.is_bipartite else set_of
    counts = np.zeros((int(set_of.max(initial=0)) + 1, int(max(targets.max(), sources.max())) + 2))
    np.add.at(counts, (source_set, sources), sources >= 0)
    own = 0 if graph.is_bipartite else 1
    known = targets >= 0
    same = counts[set_of, targets] - own
    others = counts[set_of].sum(1) - own
    share = np.divide(same, others, out=np.zeros_like(same), where=known & (others > 0))
    return float((out * share).sum() / out.sum()) if out.sum() > 0 else float("nan")


def _codes(graph: TokenGraph, labels: Any, source_labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes of target and source labels in one numbering, −1 where unknown."""
    if not graph.is_bipartite:
        codes, _ = label_codes(labels, graph.num_targets)
        return codes, codes
    both = [*np.asarray(labels).tolist(), *np.asarray(source_labels).tolist()]
    codes, _ = label_codes(both, graph.num_targets + graph.num_sources)
    return codes[: graph.num_targets], codes[graph.num_targets :]


def _mean(values: Any) -> float:
    return float(values.double().mean()) if values.numel() else 0.0

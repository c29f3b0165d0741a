"""Labels of a TokenGraph's tokens: what they may be, their codes, and how often linked tokens share one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

Labels = Tensor | np.ndarray | pd.Series | Sequence[Any]


def as_array(labels: Any) -> np.ndarray:
    """Labels of any kind as a numpy array."""
    if isinstance(labels, Tensor):
        return labels.detach().cpu().numpy()
    array = np.asarray(labels)
    # numpy writes the numbers among texts as texts, which hides that a label is unknown.
    mixed = array.dtype.kind == "U" and not isinstance(labels, np.ndarray)
    return np.array(labels, dtype=object) if mixed else array


def _is_known(label: Any) -> bool:
    """Negative integers, None and nan mark unknown labels."""
    return not (pd.isna(label) or (isinstance(label, int | np.integer) and label < 0))


def label_codes(labels: Any, count: int, argument: str = "labels") -> tuple[np.ndarray, list[Any]]:
    """Integer codes `[count]` of arbitrary labels, −1 for unknown ones, and the classes in sorted order."""
    values = as_array(labels)
    if values.ndim != 1 or len(values) != count:
        raise ValueError(
            f"{argument} must hold {count} labels, one for each token (got shape {list(values.shape)})"
        )
    known = np.array([_is_known(value) for value in values], dtype=bool)
    present = values[known].tolist()
    try:
        classes = sorted(set(present))
    except TypeError:
        classes = sorted(set(present), key=str)
    code = {value: i for i, value in enumerate(classes)}
    codes = np.full(count, -1, dtype=np.int64)
    codes[known] = [code[value] for value in present]
    return codes, classes


def homophily(
    graph: "TokenGraph", labels: Labels | None = None, source_labels: Labels | None = None
) -> float:
    """Weighted share of edges whose two ends have the same label, self-loops left out.

    Args:
        labels: One label for each target; by default the graph's own. Negative integers and
            None mark unknown labels, whose edges are left out.
        source_labels: One label for each source of a bipartite graph.

    Returns:
        A number in [0, 1], or nan if no edge counts.

    Raises:
        ValueError: If labels are missing or their number does not fit.
    """
    labels = graph.labels if labels is None else labels
    if labels is None:
        raise ValueError("labels must be given: the graph has none of its own")
    count = graph.num_targets
    if graph.is_bipartite:
        source_labels = graph.source_labels if source_labels is None else source_labels
        if source_labels is None:
            raise ValueError("source_labels must be given: sources and targets are different tokens")
        if len(labels) != count or len(source_labels) != graph.num_sources:
            raise ValueError(
                f"labels and source_labels must hold {count} and {graph.num_sources} labels "
                f"(got {len(labels)} and {len(source_labels)})"
            )
        # Coded together, so that equal labels get equal codes.
        both = [*as_array(labels).tolist(), *as_array(source_labels).tolist()]
        together = np.array(both, dtype=object)
        codes, _ = label_codes(together, count + graph.num_sources)
        target_codes, source_codes = codes[:count], codes[count:]
    else:
        target_codes, _ = label_codes(labels, count)
        source_codes = target_codes
    row, col = graph.row.cpu().numpy(), graph.col.cpu().numpy()
    ends, starts = target_codes[row], source_codes[col]
    counts = (ends >= 0) & (starts >= 0)
    if not graph.is_bipartite:
        counts &= row != col
    weight = graph.mean_weight().detach().double().cpu().numpy() * counts
    total = weight.sum()
    return float((weight * (ends == starts)).sum() / total) if total > 0 else float("nan")

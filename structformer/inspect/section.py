"""What one section of a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from structformer.graph import Labels, TokenGraph
from structformer.inspect.evidence import Evidence
from structformer.inspect.inside import Reasoning


@dataclass(frozen=True, eq=False)
class Section:
    """One section of a report: any of a text, scores, a graph, a column map, evidence, and what went on inside a model.

    Attributes:
        title: Heading.
        text: A paragraph below it; blank lines part paragraphs.
        metrics: Scores, one row for each model (ours first, baselines after it), one column for each score.
        graph: A learned graph; its earlier steps are shown too.
        colours: What tokens may be coloured by: under each name one value for each target. ``"label"`` is
            also used for homophily, and where both are classes, tokens whose ``"prediction"`` is another are
            ringed. None and NaN are unknown. Numbers with a fraction or with many values make a scale, all
            else makes classes.
        source_colours: The same for the sources of a bipartite graph, under the same names.
        data: One row for each target, shown when it is pointed at.
        source_data: The same for the sources of a bipartite graph.
        positions: ``[targets, 2]`` places to draw tokens at instead of a force layout; the second axis
            points down.
        set_names: Captions of the sets of a graph over several sets.
        columns: ``[columns, columns]`` mean attention weight; rows are targets, columns are sources.
        evidence: A question, its answer, and what that rests on.
        reasoning: What went on inside a ReSSFormer. If it is about the targets of the graph, in as many steps and
            layers, these can be coloured by expert, step by step.
        token: What a token of the graph is, in the singular ("row", "node", "point").

    Raises:
        ValueError: A field does not have one entry for each token, ``columns`` is not square, or there are
            fields that say something about a graph and none is given.
    """

    title: str
    text: str = ""
    metrics: pd.DataFrame | None = None
    graph: TokenGraph | None = None
    colours: Mapping[str, Labels] = field(default_factory=dict[str, Labels])
    source_colours: Mapping[str, Labels] = field(default_factory=dict[str, Labels])
    data: pd.DataFrame | None = None
    source_data: pd.DataFrame | None = None
    positions: np.ndarray | None = None
    set_names: Sequence[str] | None = None
    columns: pd.DataFrame | None = None
    evidence: Evidence | None = None
    reasoning: Reasoning | None = None
    token: str = "token"

    def __post_init__(self) -> None:
        if self.columns is not None and self.columns.shape[0] != self.columns.shape[1]:
            raise ValueError(f"columns must be square (got {list(self.columns.shape)})")
        per_token = self._per_token()
        if self.graph is None:
            if per_token:
                raise ValueError(f"{per_token[0][0]} says something about a graph, and graph is None")
            return
        counts = {"target": self.graph.num_targets, "source": self.graph.num_sources}
        for argument, values, side in per_token:
            if len(values) != counts[side]:
                raise ValueError(
                    f"{argument} must have {counts[side]} entries, one for each {side} (got {len(values)})"
                )
        if self.positions is not None:
            shape = list(np.shape(self.positions))
            if len(shape) != 2 or shape[1] != 2 or not np.isfinite(self.positions).all():
                raise ValueError(f"positions must be finite and of shape [targets, 2] (got shape {shape})")
            if self.graph.is_bipartite:
                raise ValueError("positions are for a graph whose sources and targets are the same tokens")

    def _per_token(self) -> list[tuple[str, Any, str]]:
        fields = [
            *((f"colours[{name!r}]", values, "target") for name, values in self.colours.items()),
            *(
                (f"source_colours[{name!r}]", values, "source")
                for name, values in self.source_colours.items()
            ),
            ("data", self.data, "target"),
            ("source_data", self.source_data, "source"),
            ("positions", self.positions, "target"),
        ]
        return [entry for entry in fields if entry[1] is not None]

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section

GRAPH = TokenGraph.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3)
BIPARTITE = TokenGraph.from_edge_index(torch.tensor([[0, 4], [1, 2]]), 3, num_sources=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colours": {"label": [1, 2]}}, r"colours\['label'\] must have 3 entries, .* each target \(got 2\)"),
        ({"data": pd.DataFrame({"x": [1]})}, "data must have 3 entries"),
        ({"positions": np.zeros((3, 3))}, r"positions must be finite and of shape \[targets, 2\]"),
        ({"positions": np.full((3, 2), np.nan)}, "positions must be finite"),
        (
            {"graph": BIPARTITE, "source_colours": {"label": [0] * 3}},
            r"source_colours\['label'\] must have 5 entries, one for each source",
        ),
        ({"graph": BIPARTITE, "positions": np.zeros((3, 2))}, "positions are for a graph whose sources"),
        ({"graph": None, "colours": {"label": [1, 2, 3]}}, "graph is None"),
        ({"columns": pd.DataFrame(np.zeros((2, 3)))}, r"columns must be square \(got \[2, 3\]\)"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Section("a", **({"graph": GRAPH} | fields))


def test_a_section_may_be_a_text_alone():
    assert Section("a", "b").graph is None

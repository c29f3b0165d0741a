from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import structformer as sf
from structformer.graph import TokenGraph
from structformer.inspect import model_section, render_report


class RowModel:
    """Rows listen to three training rows; the last is mistaken for a "b"."""

    def learned_graph(self, X: pd.DataFrame) -> TokenGraph:
        target = torch.arange(len(X))
        graph = TokenGraph.from_edge_index(torch.stack([target % 3, target]), len(X), num_sources=3)
        graph.source_names = ["p", "q", "r"]
        graph.source_labels = ["a", "b", "a"]
        return graph

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return np.array(["a"] * (len(X) - 1) + ["b"])

    def column_graph(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(np.full((2, 2), 0.5), index=X.columns, columns=X.columns)


class NodeModel:
    def learned_graph(self, X: nx.Graph) -> TokenGraph:
        return TokenGraph.from_networkx(X)


class SetModel:
    def learned_graph(self, X: list[np.ndarray]) -> TokenGraph:
        ptr = np.cumsum([0, *map(len, X)])
        loops = torch.arange(int(ptr[-1])).repeat(2, 1)
        return TokenGraph.from_edge_index(loops, int(ptr[-1]), ptr=torch.from_numpy(ptr))

    def predict(self, X: list[np.ndarray]) -> list[int]:
        return [7] * len(X)


def test_a_table():
    frame = pd.DataFrame({"x": [1.0, 2, 3, 4, 5], "y": list("uvwxy")})
    section = model_section(RowModel(), frame, pd.Series(list("aabba")), title="t")
    assert section.token == "row"
    assert section.source_colours == {"label": ["a", "b", "a"], "prediction": ["a", "b", "a"]}
    assert section.columns is not None
    assert section.data is frame
    page = render_report("t", [section])
    assert "homophily" in page
    assert "A ring marks" in page


def test_a_graph_shows_the_attributes_of_its_nodes():
    graph = nx.star_graph(4)
    graph.nodes[0]["job"] = "chair"
    section = model_section(NodeModel(), graph, title="t")
    assert section.token == "node"
    assert section.data is not None
    assert section.data.iloc[0].tolist() == [4, "chair"]
    assert section.data.iloc[1].tolist() == [1, ""]
    assert section.colours == {}


def test_sets_are_captioned_with_what_is_known_of_each():
    sets = [np.zeros((2, 3)), np.zeros((5, 3))]
    section = model_section(SetModel(), sets, [3, None], title="t")
    assert section.set_names == ["label 3, prediction 7", "prediction 7"]
    assert section.colours == {}


def test_labels_that_fit_nothing_are_refused():
    with pytest.raises(ValueError, match=r"y must have 5 entries, one for each token, or 1, .*\(got 4\)"):
        model_section(RowModel(), pd.DataFrame({"x": range(5), "y": range(5)}), list("aabb"), title="t")


def test_a_ressformer_shows_the_graph_of_every_step_and_layer():
    graph = nx.karate_club_graph()
    small = {"width": 16, "heads": 2, "epochs": 2, "random_state": 0, "verbose": False}
    model = sf.NodeClassifier(model="ressformer", model_options={"depth": 2}, steps=3, **small)
    section = model_section(model.fit(graph, "club"), graph, title="t")
    assert len(section.graph.steps) == 3 * 2
    page = render_report("t", [section])
    assert "step 6" in page
    assert "step 7" not in page


def test_a_ressformer_is_looked_into_by_itself():
    graph = nx.karate_club_graph()
    small = {"width": 16, "heads": 2, "epochs": 2, "random_state": 0, "verbose": False}
    full = {"model": "ressformer", "model_options": {"halting": "act"}, **small}
    section = model_section(sf.NodeClassifier(**full).fit(graph, "club"), graph, title="t")
    assert section.reasoning is not None
    assert section.colours["steps taken"].tolist() == section.reasoning.taken.tolist()
    assert "Inside the model" in render_report("t", [section])
    plain = model_section(sf.NodeClassifier(**small).fit(graph, "club"), graph, title="t")
    assert plain.reasoning is None
    assert "Inside the model" not in render_report("t", [plain])


def test_rows_are_coloured_by_the_mean_steps_of_their_cells():
    frame = pd.DataFrame({"x": np.arange(12.0), "y": list("uvwxyz") * 2})
    small = {"width": 16, "heads": 2, "epochs": 2, "members": 1, "random_state": 0, "verbose": False}
    model = sf.StructFormerClassifier(model="ressformer", model_options={"halting": "act"}, **small)
    section = model_section(model.fit(frame, list("ab") * 6), frame, title="t")
    assert section.reasoning is not None
    np.testing.assert_allclose(section.colours["steps taken"], section.reasoning.taken.reshape(12, 2).mean(1))
    assert "which column goes to which" in render_report("t", [section])

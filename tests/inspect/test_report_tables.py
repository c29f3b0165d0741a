from __future__ import annotations

import math

import pandas as pd
import torch

from structformer.graph import TokenGraph
from structformer.inspect.report_tables import score_table, statistics_table
from structformer.inspect.statistics import graph_statistics


def graph(weights: list[float]) -> TokenGraph:
    edges = torch.tensor([[1, 0, 3, 2], [0, 1, 2, 3]])
    return TokenGraph.from_edge_index(edges, 4, torch.tensor(weights)[:, None])


def row(table, name):
    return next(row for row in table["rows"] if row["name"] == name)


def texts(table):
    return [[cell["text"] for cell in row["cells"]] for row in table["rows"]]


def test_scores_between_zero_and_one_have_bars_as_long_as_they_are():
    table = score_table(
        pd.DataFrame({"accuracy": [0.5, 1.0], "seconds": [0.5, 12.0]}, index=["ours", "theirs"])
    )
    assert table["columns"] == ["accuracy", "seconds"]
    assert [row["name"] for row in table["rows"]] == ["ours", "theirs"]
    assert [[cell["share"] for cell in row["cells"]] for row in table["rows"]] == [[0.5, None], [1.0, None]]
    assert texts(table) == [["0.500", "0.5"], ["1.000", "12"]]


def test_scores_that_are_unknown_infinite_large_or_words():
    table = score_table(
        pd.DataFrame({"score": [float("nan"), math.inf, 123456.0, 123.456], "by": list("abcd")})
    )
    assert texts(table) == [["", "a"], ["inf", "b"], ["123,456", "c"], ["123.5", "d"]]
    assert [row["cells"][0]["number"] for row in table["rows"]] == [False, True, True, True]


def test_statistics_have_a_column_for_each_step_and_are_those_of_the_graph():
    last = graph([0.5, 1.5, 1.0, 1.0]).with_steps([graph([1.0, 1.0, 1.0, 1.0])])
    table = statistics_table(last)
    assert table["steps"] == ["step 1", "step 2"]
    found = graph_statistics(last)
    assert row(table, "edges")["cells"] == ["4", "4"]
    assert row(table, "effective degree")["cells"] == [f"{value:.2f}" for value in found["effective_degree"]]
    assert row(table, "change")["cells"][0] == "n/a"


def test_homophily_is_told_of_classes_alone():
    told = statistics_table(graph([1.0] * 4), ["a", "a", "b", None])
    assert row(told, "homophily")["cells"] == ["100.0%"]
    for labels in (None, [0.1, 0.2, 0.3, 0.4]):
        names = {row["name"] for row in statistics_table(graph([1.0] * 4), labels)["rows"]}
        assert "homophily" not in names


def test_labels_that_a_graph_was_trained_on_do_not_count():
    given = graph([1.0] * 4)
    given.labels = ["a", "a", "b", "b"]
    assert "homophily" not in {row["name"] for row in statistics_table(given)["rows"]}
    assert given.labels == ["a", "a", "b", "b"]

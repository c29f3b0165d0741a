import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

from structformer.estimators.node_labels import (
    node_labels,
    node_mask,
    repeating_attributes,
    train_and_eval,
)

NODES = ["ann", "bob", "cat", "dan", "eve"]


def graph():
    graph = nx.path_graph(5)
    nx.set_node_attributes(graph, dict(zip(range(5), ["x", "y", "x", None, "y"], strict=True)), "side")
    return nx.relabel_nodes(graph, dict(enumerate(NODES)))


@pytest.mark.parametrize(
    "y",
    [
        ["x", "y", "x", None, "y"],
        {"ann": "x", "cat": "x", "bob": "y", "eve": "y"},
        np.array(["x", "y", "x", None, "y"], dtype=object),
        pd.Series(["x", "y", "x", np.nan, "y"]),
        pd.array(["x", "y", "x", pd.NA, "y"]),
        "side",
    ],
)
def test_labels_in_every_form(y):
    labels, known = node_labels(y, graph(), NODES)
    assert known.tolist() == [True, True, True, False, True]
    assert labels[known].tolist() == ["x", "y", "x", "y"]


@pytest.mark.parametrize(
    "y", [[3, 7, 3, -1, 7], [3.0, 7.0, 3.0, np.nan, 7.0], torch.tensor([[3], [7], [3], [-1], [7]])]
)
def test_numbered_classes(y):
    labels, known = node_labels(y, graph(), NODES)
    assert known.tolist() == [True, True, True, False, True]
    assert labels.dtype.kind == "i"
    assert labels[known].tolist() == [3, 7, 3, 7]


def test_false_is_a_class():
    labels, known = node_labels([True, False, True, None, False], graph(), NODES)
    assert known.sum() == 4
    assert labels[known].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, r"y must be given.*\(got None\)"),
        (["x"] * 4, "y has 4 labels, but the graph has 5 nodes"),
        ({"ann": "x", "zoe": "y"}, "y names node 'zoe', which the graph does not have"),
        ([None, -1, np.nan, None, None], "y has no known label"),
        ([0.5, 1.25, 2.5, 1.0, 2.0], "continuous"),
        (np.zeros((5, 2)), r"one label a node \(got several\)"),
        ("colour", r"no node has the attribute y='colour'; the attributes are \['side'\]"),
    ],
)
def test_bad_labels_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        node_labels(y, graph(), NODES)


def test_a_name_is_for_networkx_only():
    with pytest.raises(ValueError, match="only networkx graphs have"):
        node_labels("side", object(), NODES)


@pytest.mark.parametrize(
    "mask",
    [
        [True, False, False, True, False],
        np.array([1, 0, 0, 1, 0]),
        torch.tensor([True, False, False, True, False]),
        {"ann": True, "dan": True, "bob": False},
    ],
)
def test_masks_in_every_form(mask):
    assert node_mask(mask, NODES, "train_mask").tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True] * 7, "train_mask has 7 entries, but the graph has 5 nodes"),
        (np.ones((5, 10), dtype=bool), r"shape \[5, 10\]\); pick one split"),
        ([0, 1, 2, 3, 4], r"True or False for each node \(got 2\)"),
        ({"zoe": True}, "train_mask names node 'zoe'"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        node_mask(mask, NODES, "train_mask")


def test_what_to_learn_from_and_what_to_watch():
    known = np.array([True, True, True, False, True])
    train, held = train_and_eval(None, None, NODES, known)
    assert (train.tolist(), held.any()) == (known.tolist(), False)
    train, held = train_and_eval(None, [False, True, False, False, False], NODES, known)
    assert train.tolist() == [True, False, True, False, True]
    with pytest.raises(ValueError, match="train_mask includes node 'dan', whose label is unknown"):
        train_and_eval([True] * 5, None, NODES, known)
    with pytest.raises(ValueError, match="train_mask includes no node"):
        train_and_eval([False] * 5, None, NODES, known)
    with pytest.raises(ValueError, match="both include node 'bob'"):
        train_and_eval([True, True, False, False, False], [False, True, False, False, False], NODES, known)


def test_attributes_that_are_the_target_are_found():
    club = nx.karate_club_graph()
    labels = np.array([int(side == "Officer") for _, side in club.nodes(data="club")])
    everyone, two = np.ones(34, dtype=bool), np.isin(np.arange(34), [0, 33])
    assert repeating_attributes(club, labels, everyone) == ["club"]
    assert repeating_attributes(club, labels, two) == [], "two labels say too little"
    labels[0] = 1
    assert repeating_attributes(club, labels, everyone) == []
    assert repeating_attributes(object(), labels, everyone) == []

from dataclasses import replace

import pytest
import torch
from structformer.tasks.node_invariance import node_invariance
from structformer.tasks.node_ours import fit_nodes, fit_rows
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import labels_a_class


@pytest.fixture
def blobs(rng):
    """Three clouds of points, linked inside each."""
    y = torch.arange(60) % 3
    x = torch.nn.functional.one_hot(y, 5) * 3 + torch.randn(60, 5, generator=rng)
    pairs = torch.randint(60, (2, 900), generator=rng)
    edges = pairs[:, y[pairs[0]] == y[pairs[1]]]
    return Problem.of(x, y, labels_a_class(y, 6, 4, seed=0), torch.cat([edges, edges.flip(0)], 1))


@pytest.mark.parametrize("edges", ["both", "given", "learned"])
@pytest.mark.parametrize("model", ["soes", "ressformer"])
def test_nodes_are_told_apart_in_any_order(blobs, edges, model):
    predict = fit_nodes(blobs.nodes, {"edges": edges, "model": model, "epochs": 15, "width": 16}, 0)
    assert blobs.score(predict(blobs.nodes)) > 80
    found = node_invariance(blobs, predict, 3, seed=1)
    assert found["changed"] == 0
    assert found["largest"] < 1e-6


def test_edges_that_are_not_shown_make_no_difference(blobs):
    bare = replace(blobs, nodes=blobs.nodes.without_edges())
    options = {"edges": "learned", "epochs": 3, "width": 16}
    shown, hidden = (fit_nodes(some.nodes, options, 0)(some.nodes) for some in (blobs, bare))
    assert shown.equal(hidden)


def test_with_given_edges_alone_a_node_hears_of_its_neighbours_only(blobs):
    # Without edges each node stands alone: nothing that another holds can change what is said of it.
    bare = blobs.nodes.without_edges()
    predict = fit_nodes(bare, {"edges": "given", "epochs": 3, "width": 16}, 0)
    others = replace(bare, x=torch.cat([bare.x[:1], bare.x[1:].flip(0)]))
    assert predict(bare)[0].allclose(predict(others)[0])


def test_rows_are_told_apart_in_any_order(blobs):
    predict = fit_rows(blobs.nodes, {"epochs": 15, "width": 16, "members": 1}, 0)
    assert blobs.score(predict(blobs.nodes)) > 55
    assert node_invariance(blobs, predict, 3, seed=1)["changed"] == 0


def test_classes_that_training_has_not_met_score_nothing(blobs):
    nodes = replace(blobs.nodes, classes=4)
    scores = fit_nodes(nodes, {"epochs": 2, "width": 16}, 0)(nodes)
    assert scores.shape == (60, 4)
    assert not scores[:, 3].any()


def test_unknown_edges_are_refused(blobs):
    with pytest.raises(ValueError, match=r"edges must be among .* \(got 'some'\)"):
        fit_nodes(blobs.nodes, {"edges": "some"}, 0)

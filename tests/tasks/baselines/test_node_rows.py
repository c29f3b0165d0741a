from dataclasses import replace

import pytest
import torch
from structformer.tasks.baselines.knn_network import fit_knn_network, knn_edges
from structformer.tasks.baselines.label_spreading import fit_propagation, fit_spreading
from structformer.tasks.baselines.row_classifiers import MODELS, fit_row_classifier
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import labels_a_class


@pytest.fixture
def clouds(rng):
    """Three clouds of points, linked inside each."""
    y = torch.arange(90) % 3
    x = torch.nn.functional.one_hot(y, 5) * 4 + torch.randn(90, 5, generator=rng)
    pairs = torch.randint(90, (2, 900), generator=rng)
    edges = pairs[:, y[pairs[0]] == y[pairs[1]]]
    return Problem.of(x, y, labels_a_class(y, 4, 4, seed=0), torch.cat([edges, edges.flip(0)], 1))


@pytest.mark.parametrize("model", MODELS)
def test_classifiers_learn_from_features(clouds, model):
    predict = fit_row_classifier(clouds.nodes, {"model": model}, 0)
    assert clouds.score(predict(clouds.nodes)) > 85
    perm = torch.randperm(90)
    assert predict(clouds.nodes.permuted(perm)).allclose(predict(clouds.nodes)[perm])


def test_classifiers_of_two_classes_have_two_scores(clouds):
    two = clouds.answers.clamp(max=1)
    problem = Problem.of(clouds.nodes.x, two, labels_a_class(two, 6, 4, seed=0))
    predict = fit_row_classifier(problem.nodes, {"model": "RBF SVM"}, 0)
    assert predict(problem.nodes).shape == (90, 2)
    assert problem.score(predict(problem.nodes)) > 85


def test_labels_spread_over_neighbours_and_along_edges(clouds):
    for fit, options in (
        (fit_spreading, {"n_neighbors": 7}),
        (fit_spreading, {"n_neighbors": 7, "unit": True}),
        (fit_propagation, {"num_layers": 10, "alpha": 0.9}),
    ):
        predict = fit(clouds.nodes, options, 0)
        assert clouds.score(predict(clouds.nodes)) > 90
        perm = torch.randperm(90)
        moved = predict(clouds.nodes.permuted(perm))
        assert moved.argmax(1).equal(predict(clouds.nodes).argmax(1)[perm])


def test_labels_to_choose_by_are_not_spread(clouds):
    other = clouds.nodes.labels.where(~clouds.nodes.val, (clouds.nodes.labels + 1) % 3)
    for fit, options in (
        (fit_spreading, {"n_neighbors": 7}),
        (fit_propagation, {"num_layers": 5, "alpha": 0.9}),
    ):
        predict = fit(clouds.nodes, options, 0)
        assert predict(clouds.nodes).equal(predict(replace(clouds.nodes, labels=other)))


def test_neighbours_are_linked_both_ways():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.3]])
    edges = {tuple(edge) for edge in knn_edges(x, 1, "cosine").T.tolist()}
    assert edges == {(0, 1), (1, 0), (2, 3), (3, 2), (1, 4), (4, 1)}


def test_a_network_on_the_graph_of_neighbours_learns(clouds):
    options = {"kind": "gcn", "neighbors": 5, "epochs": 40, "hidden": 16}
    predict = fit_knn_network(clouds.nodes.without_edges(), options, 0)
    assert clouds.score(predict(clouds.nodes)) > 90


def test_unknown_models_are_refused(clouds):
    with pytest.raises(ValueError, match=r"model must be among .* \(got 'oracle'\)"):
        fit_row_classifier(clouds.nodes, {"model": "oracle"}, 0)

from dataclasses import replace

import pytest
import torch
from structformer.tasks.baselines.row_classifiers import MODELS, fit_row_classifier
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import labels_a_class


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


def test_unknown_models_are_refused(clouds):
    with pytest.raises(ValueError, match=r"model must be among .* \(got 'oracle'\)"):
        fit_row_classifier(clouds.nodes, {"model": "oracle"}, 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_class_that_nobody_showed_is_never_said(clouds, model):
    nodes = clouds.nodes
    shown = nodes.train & (nodes.labels != 1)
    blind = replace(nodes, train=shown)
    scores = fit_row_classifier(blind, {"model": model}, 0)(nodes)
    assert scores.shape == (90, 3)
    assert (scores[:, 1] == float("-inf")).all()

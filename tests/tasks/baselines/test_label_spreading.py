from dataclasses import replace

import torch
from structformer.tasks.baselines.label_spreading import fit_propagation, fit_spreading


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


def test_a_class_without_a_known_label_has_its_place(clouds):
    nodes = replace(clouds.nodes, train=clouds.nodes.train & (clouds.nodes.labels != 2))
    for fit, options in (
        (fit_spreading, {"n_neighbors": 7}),
        (fit_propagation, {"num_layers": 5, "alpha": 0.9}),
    ):
        scores = fit(nodes, options, 0)(nodes)
        assert scores.shape == (90, 3)
        assert (scores[:, 2] == 0).all()

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

import structformer as sf
from structformer.inspect import edge_attribution
from structformer.inspect.intervention import edited, recorded

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}


def blobs(seed=0, rows=60):
    draw = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    return draw.normal(size=(rows, 3)) + 2 * y[:, None], y


def sets(seed=0):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(n, 2)) + n % 2 for n in draw.integers(3, 9, size=24)]


def models():
    X, y = blobs()
    table = sf.StructFormerClassifier(**FAST, members=2, row_neighbors=5).fit(X, y)
    yield "table", table, X[:11]
    yield "numbers", sf.StructFormerRegressor(**FAST, members=1, row_neighbors=5).fit(X, X[:, 0]), X[:11]
    many = sets()
    yield "sets", sf.SetClassifier(**FAST).fit(many, [len(s) % 2 for s in many]), many[:5]
    yield "vectors", sf.SetEncoder(**FAST).fit(many), many[:5]


@pytest.fixture(scope="module", params=["table", "numbers", "sets", "vectors"])
def fitted(request):
    return next(tuple(rest) for name, *rest in models() if name == request.param)


def test_it_is_the_learned_graph_with_other_weights(fitted):
    model, X = fitted
    graph, found = model.learned_graph(X), edge_attribution(model, X)
    assert torch.equal(graph.rowptr, found.rowptr)
    assert torch.equal(graph.col, found.col)
    assert graph.names == found.names
    assert len(graph.steps) == len(found.steps)
    assert (found.weight >= 0).all()
    assert found.weight.max() > 0
    assert not torch.equal(model.learned_graph(X).weight, found.weight)


def test_it_is_the_slope_of_what_is_predicted():
    X, y = blobs()
    model = sf.StructFormerClassifier(**FAST, members=1, row_neighbors=5).fit(X, y)
    new = X[:7] + 0.1
    found = edge_attribution(model, new).weight
    step = 1e-5

    with recorded(*model.graph_layers()) as seen:
        model.predict_proba(new)

    def told(edge, factor):
        def edit(call, step, graph):
            weight = graph.weight.clone()
            weight[edge] *= factor
            return graph.with_weight(weight)

        with edited(*model.graph_layers(), seen, edit):
            return np.log(model.predict_proba(new).max(1)).sum()

    # The network's graph is that of the data here, edge for edge: one batch, one member.
    for edge in range(0, len(found), 6):
        slope = abs(told(edge, 1 + step) - told(edge, 1 - step)) / (2 * step)
        assert slope == pytest.approx(float(found[edge]), rel=1e-4, abs=1e-9)


def test_nothing_is_left_behind(fitted):
    model, X = fitted
    before = model.learned_graph(X).weight
    edge_attribution(model, X)
    assert torch.equal(model.learned_graph(X).weight, before)
    networks, _ = model.graph_layers()
    assert all(parameter.grad is None for network in networks for parameter in network.parameters())


def test_before_fit():
    with pytest.raises(NotFittedError):
        edge_attribution(sf.SetClassifier(), sets())

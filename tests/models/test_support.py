import networkx as nx
import numpy as np
import pytest
import torch

import structformer as sf
from structformer.graph import TokenGraph
from structformer.models.support import attributions, support, supported


def graph():
    index = torch.tensor([[0, 1, 2, 0, 2, 2], [0, 0, 0, 1, 1, 2]])
    return TokenGraph.from_edge_index(index, 3, torch.tensor([0.2, 0.3, 0.5, 0.6, 0.4, 1.0]).double())


def test_what_a_token_hears_for_its_prediction_sums_to_one():
    # Token 0 hears 4 in all, of which its weights take 0.8, 1.2 and 2; token 1 turns to the heavier of two edges.
    found = support(graph(), torch.tensor([2.0, 1.5, 0.5, -1.0, -1.0, 3.0]).double())
    assert found.tolist() == pytest.approx([0.8, 0.2, 0.0, 1.0, 0.0, 0.0])


def test_what_all_edges_share_is_no_difference():
    weight = graph().weight
    assert support(graph(), 3 * weight).tolist() == [0.0] * 6
    moved = torch.tensor([0.1, -0.3, 0.2, 0.5, -0.5, 0.0]).double()
    torch.testing.assert_close(support(graph(), moved + 3 * weight), support(graph(), moved))


def test_it_is_the_slope_of_the_affinities():
    """Of a softmax: the gradient by what goes into it."""
    affinity = torch.randn(6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    value = torch.randn(6, generator=torch.Generator().manual_seed(1)).double()
    row = graph().row
    weight = torch.cat([affinity[row == i].softmax(0) for i in range(3)])
    slope = torch.autograd.grad((weight * value).sum(), affinity)[0]
    d = (weight * value).detach()
    expected = slope.clamp(min=0)
    total = torch.zeros(3).double().index_add(0, row, expected)
    found = support(graph().with_weight(weight.detach()), d)
    torch.testing.assert_close(found, expected / total.where(total > 1e-9, 1)[row])


def blobs():
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    return draw.normal(size=(60, 3)) + 2 * y[:, None], y


def club():
    return nx.karate_club_graph()


def sets():
    draw = np.random.default_rng(1)
    return [draw.normal(size=(5, 2)) + i % 2 for i in range(20)], np.arange(20) % 2


FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}


def table(kind):
    X, y = blobs()
    return kind(**FAST, row_neighbors=5).fit(X, y), X[:9] + 0.1


def nodes(model):
    fitted = sf.NodeClassifier(model=model, **{**FAST, "epochs": 20})
    return fitted.fit(club(), "club", train_mask=np.arange(34) % 3 == 0), club()


def of_sets(kind):
    X, y = sets()
    return kind(**FAST).fit(X, y), X[:3]


CASES = {
    "rows": lambda: table(sf.StructFormerClassifier),
    "numbers": lambda: table(sf.StructFormerRegressor),
    "nodes": lambda: nodes("soes"),
    "nodes, recurrent": lambda: nodes("ressformer"),
    "sets": lambda: of_sets(sf.SetClassifier),
    "numbers of sets": lambda: of_sets(sf.SetRegressor),
}


@pytest.mark.parametrize("case", CASES)
def test_every_step_of_who_predicts_has_support(case):
    model, X = CASES[case]()
    whole, plain = model.learned_graph(X), model.learned_graph(X, support=False)
    assert all(step.support is None for step in plain.steps)
    for step, other in zip(whole.steps, plain.steps, strict=True):
        assert torch.equal(step.weight, other.weight)
        assert torch.equal(step.col, other.col)
        total = torch.zeros(step.num_targets).double().index_add(0, step.row, step.support.double())
        assert (step.support >= 0).all()
        assert torch.all(torch.isclose(total, torch.ones_like(total)) | (total == 0))
        assert (total > 0.5).double().mean() > 0.5


def test_it_is_that_of_the_attributions():
    """With one network and one batch the graph is the network's own, edge for edge."""
    X, y = blobs()
    model = sf.StructFormerClassifier(**FAST, members=1, row_neighbors=5).fit(X, y)
    networks, layers = model.graph_layers()
    found = []

    def ask(network, args, kwargs):
        found.append(attributions(network, args, kwargs, layers, classes=True))

    handle = networks[0].register_forward_pre_hook(ask, with_kwargs=True)
    plain = model.learned_graph(X[:9] + 0.1, support=False)
    handle.remove()
    (slopes,) = found
    for step, other, slope in zip(model.learned_graph(X[:9] + 0.1).steps, plain.steps, slopes, strict=True):
        torch.testing.assert_close(step.support, support(other, slope))


def test_it_does_not_depend_on_the_order_or_the_company():
    model, _ = CASES["sets"]()
    X = sets()[0]
    both = model.learned_graph(X[:2])
    alone = model.learned_graph(X[1:2])
    edges = both.row >= 5
    torch.testing.assert_close(both.support[edges], alone.support, rtol=0, atol=1e-12)
    turned = model.learned_graph([X[1][::-1]])
    there = turned.by("support").to_scipy().toarray()[::-1, ::-1]
    np.testing.assert_allclose(there, alone.by("support").to_scipy().toarray(), atol=1e-12)


def test_encoders_predict_nothing():
    encoder = sf.SetEncoder(**FAST).fit(sets()[0])
    assert encoder.learned_graph(sets()[0][:2]).support is None


def test_nothing_is_left_behind():
    model, X = CASES["nodes"]()
    networks, layers = model.graph_layers()
    hooks = [len(module._forward_hooks) for module in (*networks, *layers)]
    model.learned_graph(X)
    with pytest.raises(RuntimeError, match="stop"), supported(networks, layers, classes=True):
        raise RuntimeError("stop")
    assert hooks == [len(module._forward_hooks) for module in (*networks, *layers)]
    assert all(parameter.grad is None for parameter in networks[0].parameters())

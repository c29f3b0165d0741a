import pytest
import torch
from structformer.tasks.baselines.node_networks import NodeNetworkConfig, node_network
from structformer.tasks.baselines.node_training import fit_network
from structformer.tasks.node_problem import Problem
from structformer.tasks.node_splits import labels_a_class

SOME = [
    {"kind": kind, "residual": residual}
    for kind in ("mlp", "gcn", "gat", "sage")
    for residual in (False, True)
]


@pytest.fixture
def clouds(rng):
    """Four clouds of points whose features say little, and edges most of which stay inside a cloud."""
    y = torch.arange(120) % 4
    x = torch.nn.functional.one_hot(y, 7) + torch.randn(120, 7, generator=rng)
    pairs = torch.randint(120, (2, 2_000), generator=rng)
    edges = pairs[:, (y[pairs[0]] == y[pairs[1]]) | (torch.rand(2_000, generator=rng) < 0.05)]
    return Problem.of(x, y, labels_a_class(y, 10, 10, seed=0), torch.cat([edges, edges.flip(0)], 1))


@pytest.mark.parametrize("options", SOME, ids=str)
def test_networks_learn_and_those_that_listen_learn_more(clouds, options):
    training = {"epochs": 60, "weight_decay": 5e-4, "hidden": 32, "heads": 4}
    score = clouds.score(fit_network(clouds.nodes, {**training, **options}, 0)(clouds.nodes))
    assert 35 < score < 80 if options["kind"] == "mlp" else score > 85


@pytest.mark.parametrize("options", SOME, ids=str)
def test_the_order_of_nodes_does_not_matter(clouds, options):
    predict = fit_network(clouds.nodes, {"epochs": 2, "hidden": 16, "heads": 4, **options}, 0)
    perm = torch.randperm(120)
    moved = predict(clouds.nodes.permuted(perm))
    assert moved.allclose(predict(clouds.nodes)[perm], atol=1e-5)


def test_the_best_epoch_is_kept_and_a_seed_decides_all(clouds):
    seen = []

    class Watched:
        def __getattr__(self, name):
            return getattr(clouds.nodes, name)

        def validation(self, scores):
            seen.append(clouds.nodes.validation(scores))
            return seen[-1]

    options = {"kind": "gcn", "hidden": 16, "epochs": 40, "patience": 10}
    predict = fit_network(Watched(), options, 3)
    assert clouds.nodes.validation(predict(clouds.nodes)) == max(seen)
    assert predict(clouds.nodes).equal(fit_network(clouds.nodes, options, 3)(clouds.nodes))
    assert not predict(clouds.nodes).equal(fit_network(clouds.nodes, options, 4)(clouds.nodes))


def test_training_ends_when_validation_gets_no_better(clouds):
    asked = []

    class Constant:
        def __getattr__(self, name):
            return getattr(clouds.nodes, name)

        def validation(self, scores):
            asked.append(scores)
            return 100.0 if len(asked) == 3 else 50.0

    fit_network(Constant(), {"kind": "mlp", "epochs": 50, "patience": 5}, 0)
    assert len(asked) == 3 + 5


def test_normalised_rows_have_no_size(clouds):
    options = {"kind": "mlp", "epochs": 2, "row_normalized": True, "residual": True}
    nodes = clouds.nodes.without_edges()
    positive = type(nodes)(nodes.x.abs(), *(getattr(nodes, n) for n in list(nodes.__dataclass_fields__)[1:]))
    larger = type(nodes)(
        nodes.x.abs() * 8, *(getattr(nodes, n) for n in list(nodes.__dataclass_fields__)[1:])
    )
    predict = fit_network(positive, options, 0)
    assert predict(larger).allclose(predict(positive), atol=1e-5)


def test_configurations_are_checked():
    with pytest.raises(ValueError, match=r"kind must be among .* \(got 'rnn'\)"):
        NodeNetworkConfig("rnn")
    with pytest.raises(ValueError, match="layers must be at least 1"):
        NodeNetworkConfig("gcn", layers=0)
    with pytest.raises(ValueError, match="heads must divide hidden"):
        NodeNetworkConfig("gat", hidden=30)


def test_layers_are_as_many_as_asked_for():
    for residual in (False, True):
        model = node_network(NodeNetworkConfig("gcn", layers=3, residual=residual), 5, 4)
        assert len(model.layers) == 3
        assert model(torch.randn(7, 5), torch.tensor([[0, 1], [1, 0]])).shape == (7, 4)

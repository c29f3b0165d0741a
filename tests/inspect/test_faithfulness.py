import importlib

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch_geometric.data import Data

import structformer as sf
from structformer.inspect import faithfulness
from structformer.inspect.intervention import strongest, without
from structformer.models.support import attributions, support

ROWS = ["strongest", "random", "by weight", "by gradient", "all but strongest", "all but random", "all"]


class Listener:
    """Says of each token the mean of what its neighbours hold, by weights that are as told."""

    def __init__(self, seed=0, told=True, tokens=40, steps=1):
        draw = np.random.default_rng(seed)
        network = sf.nn.SOES(sf.nn.SOESConfig(width=4, affinity=4, neighbors=12, sharpness=20.0)).double()
        self.network = _Mean(network, told, steps)
        self.x = torch.from_numpy(draw.normal(size=(tokens, 4)))

    def graph_layers(self):
        return [self.network], [self.network.structure]

    def learned_graph(self, X, *, support=True):
        return self.network(self.x).encoded.graphs[-1]

    def predict(self, X):
        return self.network(self.x).outputs.detach().numpy()


class _Mean(torch.nn.Module):
    def __init__(self, structure, told, steps):
        super().__init__()
        self.structure, self.told, self.steps = structure, told, steps

    def forward(self, x):
        graphs = []
        for _ in range(self.steps):
            graph = self.structure(x)
            weight = graph.weight if self.told else 1 - graph.weight
            x = torch.zeros_like(x).index_add(0, graph.row, weight[:, None] * x[graph.col])
            graphs.append(graph)
        outputs = type("Out", (), {})()
        outputs.outputs, outputs.encoded = x, type("Encoded", (), {"graphs": graphs})()
        return outputs


def test_weights_that_decide_are_told_from_decoration():
    honest = faithfulness(Listener(), None)
    assert honest.loc["strongest", "ratio"] > 1.5
    assert honest.loc["all but strongest", "ratio"] < 1
    decoration = faithfulness(Listener(told=False), None)
    assert decoration.loc["strongest", "ratio"] < honest.loc["strongest", "ratio"] / 1.3


def test_the_strongest_of_a_picture_are_those_before_anything_was_taken_out(monkeypatch):
    module, removed = importlib.import_module("structformer.inspect.faithfulness"), []

    def spied(graph, chosen):
        removed.append((graph, chosen))
        return without(graph, chosen)

    monkeypatch.setattr(module, "without", spied)
    listener = Listener(steps=3)
    network = listener.network
    shown = network(listener.x).encoded.graphs
    slopes = attributions(network, (listener.x,), {}, [network.structure], classes=False)
    faithfulness(listener, None, share=0.3, repeats=1)
    by_support, _, by_weight = removed[:3], removed[3:6], removed[6:9]
    for step, graph in enumerate(shown):
        assert torch.equal(by_support[step][0].col, graph.col)
        assert torch.equal(by_support[step][1], strongest(graph, support(graph, slopes[step]), 0.3))
        assert torch.equal(by_weight[step][1], strongest(graph, graph.weight, 0.3))
    # Weights of later steps change with what was taken out of the first.
    heard, chosen = by_weight[2]
    assert not torch.equal(chosen, strongest(heard, heard.weight, 0.3))


def test_the_table_of_a_classifier():
    draw = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = draw.normal(size=(90, 5)) + 3 * np.eye(5)[y]
    nodes = Data(x=torch.tensor(x, dtype=torch.float32), num_nodes=90)
    model = sf.NodeClassifier(width=16, heads=2, epochs=10, random_state=0, verbose=False)
    model.fit(nodes, y=y, train_mask=np.arange(90) < 15)
    found = faithfulness(model, nodes, repeats=2, seed=3)
    assert found.index.tolist() == ROWS
    assert found.columns.tolist() == ["change", "flipped", "ratio"]
    assert found.change.between(0, 1).all()
    assert found.loc["random", "ratio"] == 1
    assert found.equals(faithfulness(model, nodes, repeats=2, seed=3))
    assert found.loc["all", "change"] > found.loc["random", "change"]


@pytest.mark.parametrize("kind", [sf.TableEncoder, sf.StructFormerRegressor])
def test_numbers_and_vectors_have_no_classes_to_flip(kind):
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = kind(width=16, heads=2, epochs=2, row_neighbors=5, random_state=0, verbose=False).fit(X, X[:, 0])
    found = faithfulness(model, X[:20] + 0.1, repeats=1)
    assert found.columns.tolist() == ["change", "ratio"]
    assert (found.change > 0).all()


def test_a_share_that_is_none():
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="share"):
            faithfulness(Listener(), None, share=share)
    with pytest.raises(ValueError, match="repeats"):
        faithfulness(Listener(), None, repeats=0)
    with pytest.raises(NotFittedError):
        faithfulness(sf.SetClassifier(), [np.zeros((3, 2))])

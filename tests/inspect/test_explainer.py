import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.explain import CaptumExplainer, Explainer, GNNExplainer, fidelity

import structformer as sf
from structformer.inspect import ExplainedModel, edge_attribution

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}
SETTINGS = {"mode": "multiclass_classification", "task_level": "node", "return_type": "log_probs"}


def table(members=1):
    draw = np.random.default_rng(3)
    y = np.arange(60) % 3
    X = draw.normal(size=(60, 3)) + y[:, None]
    model = sf.StructFormerClassifier(**FAST, members=members, row_neighbors=5, row_steps=2).fit(X, y)
    return model, X[:11] + 0.1


def nodes():
    draw = np.random.default_rng(5)
    graph = nx.planted_partition_graph(2, 20, 0.3, 0.05, seed=2)
    for node in graph:
        graph.nodes[node].clear()  # of its block, which would tell the class
        graph.nodes[node]["size"] = float(draw.normal() + node // 20)
    known = {node: node // 20 for node in range(0, 40, 3)}
    return sf.NodeClassifier(**FAST).fit(graph, known), graph


def sets(kind="SetClassifier"):
    draw = np.random.default_rng(7)
    many = [draw.normal(size=(n, 2)) for n in draw.integers(3, 9, size=24)]
    y = [len(s) % 2 for s in many] if kind == "SetClassifier" else [float(s.sum()) for s in many]
    return getattr(sf, kind)(**FAST).fit(many, y), many[:5]


MADE = {
    "table": table,
    "several networks": lambda: table(2),
    "nodes": nodes,
    "sets": sets,
    "numbers of sets": lambda: sets("SetRegressor"),
}


@pytest.fixture(scope="module", params=MADE)
def fitted(request):
    return MADE[request.param]()


def explainer(module, algorithm, **settings):
    return Explainer(
        module,
        algorithm,
        explanation_type="model",
        edge_mask_type="object",
        model_config={**SETTINGS, **settings},
    )


def test_without_a_mask_it_says_what_the_model_says_in_the_order_of_the_data(fitted):
    model, X = fitted
    explained = ExplainedModel(model, X)
    said = explained(explained.x, explained.edge_index).detach()
    if hasattr(model, "classes_"):
        torch.testing.assert_close(
            said.exp(), torch.from_numpy(model.predict_proba(X)), rtol=1e-9, atol=1e-12
        )
    else:
        assert np.corrcoef(said[:, 0], model.predict(X))[0, 1] > 1 - 1e-9


def test_a_mask_that_takes_all_edges_says_something_else(fitted):
    explained = ExplainedModel(*fitted)
    asked = explainer(explained, GNNExplainer(epochs=1))
    nothing = torch.zeros(explained.edge_index.shape[1])
    masked = asked.get_masked_prediction(explained.x, explained.edge_index, edge_mask=nothing)
    assert not torch.allclose(masked, explained(explained.x, explained.edge_index), atol=1e-4)
    again = explained(explained.x, explained.edge_index)
    whole = asked.get_masked_prediction(explained.x, explained.edge_index, edge_mask=nothing + 1)
    torch.testing.assert_close(whole, again.detach())


def test_a_mask_comes_back_as_the_learned_graph_with_names(fitted):
    model, X = fitted
    explained = ExplainedModel(model, X)
    graph = explained.graph(torch.ones(explained.edge_index.shape[1]))
    learned = model.learned_graph(X)
    assert torch.equal(graph.rowptr, learned.rowptr)
    assert torch.equal(graph.col, learned.col)
    assert graph.names == learned.names
    assert len(graph.steps) == len(learned.steps)
    assert (graph.weight > 0).all()


def test_the_edges_are_numbered_as_the_data_is():
    model, graph = nodes()
    shuffled = nx.Graph()
    shuffled.add_nodes_from((n, graph.nodes[n]) for n in np.random.default_rng(0).permutation(40).tolist())
    shuffled.add_edges_from(graph.edges)
    explained = ExplainedModel(model, shuffled)
    learned = model.learned_graph(shuffled)
    for number, step in enumerate(learned.steps):
        own = explained.edge_index.split([s.num_edges for s in learned.steps], dim=1)[number]
        expected = step.to_edge_index()[0]
        assert set(map(tuple, own.T.tolist())) == set(map(tuple, expected.T.tolist()))


@pytest.mark.parametrize("kind", ["table", "nodes", "sets"])
def test_pygs_saliency_is_our_attribution(kind):
    model, X = MADE[kind]()
    explained = ExplainedModel(model, X)
    asked = explainer(
        explained, CaptumExplainer("Saliency"), task_level="graph" if kind == "sets" else "node"
    )
    theirs = explained.graph(asked(explained.x, explained.edge_index).edge_mask)
    ours = edge_attribution(model, X)
    for mine, other in zip(ours.steps, theirs.steps, strict=True):
        torch.testing.assert_close(other.weight.double(), mine.weight.double(), rtol=1e-4, atol=1e-7)


def test_an_explainer_finds_edges_that_one_prediction_hangs_on():
    model, X = table()
    explained = ExplainedModel(model, X)
    torch.manual_seed(0)
    asked = explainer(explained, GNNExplainer(epochs=20))
    explanation = asked(explained.x, explained.edge_index, index=4)
    heard = explained.edge_index[1] == 4
    assert (explanation.edge_mask[heard] > 0).any()
    assert (explanation.edge_mask[~heard] == 0).all()
    assert not explained.training
    assert all(0 <= value <= 1 for value in fidelity(asked, explanation))


def test_what_cannot_be_explained_is_refused():
    draw = np.random.default_rng(1)
    many = [draw.normal(size=(4, 2)) for _ in range(12)]
    with pytest.raises(ValueError, match="SetEncoder, which has no predict"):
        ExplainedModel(sf.SetEncoder(**FAST).fit(many), many)
    explained = ExplainedModel(*table())
    with pytest.raises(ValueError, match="edge_index must be that of the explained model"):
        explained(explained.x, explained.edge_index.flip(0))
    with pytest.raises(ValueError, match=r"one an edge \(got \[3\]\)"):
        explained.graph(torch.ones(3))

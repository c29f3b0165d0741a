"""What NodeClassifier learns, reads, refuses and remembers."""

import pickle

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

import structformer as sf
from structformer.estimators.nodes import fingerprint
from structformer.tokens import TokenSet

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}
LEADERS = np.isin(np.arange(34), [0, 33])
models = pytest.mark.parametrize("kind", ["soes", "ressformer"])


def club(attributes=False):
    graph = nx.karate_club_graph()
    labels = np.array([graph.nodes[node]["club"] for node in graph])
    if not attributes:
        for _, held in graph.nodes(data=True):
            del held["club"]
    return graph, labels


def blocks(seed=0, size=30):
    """Two groups of nodes, linked mostly among themselves; the first feature tells them apart, roughly."""
    draw = np.random.default_rng(seed)
    y = np.arange(2 * size) % 2
    chance = np.where(y[:, None] == y, 0.25, 0.02)
    source, target = np.nonzero(draw.random((2 * size, 2 * size)) < chance)
    x = draw.normal(size=(2 * size, 3)) + np.outer(y, [1.5, 0, 0])
    edges = torch.from_numpy(np.stack([source, target]))
    return Data(x=torch.from_numpy(x).float(), edge_index=edges, y=torch.from_numpy(y))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("weights", [True, False])
def test_two_leaders_are_enough_whatever_the_seed(seed, weights):
    graph, labels = club()
    if not weights:
        graph = nx.Graph(graph.edges())
        labels = np.array([dict(zip(range(34), labels, strict=True))[node] for node in graph])
    known = [node in (0, 33) for node in graph]
    model = sf.NodeClassifier(random_state=seed, verbose=False).fit(graph, labels, train_mask=known)
    assert (model.predict(graph) == labels).sum() >= 32


def test_labels_in_every_form_give_the_same_model():
    graph, labels = club()
    partly = [label if known else None for label, known in zip(labels, LEADERS, strict=True)]
    carrying, _ = club(attributes=True)
    models = [
        sf.NodeClassifier(**FAST).fit(graph, labels, train_mask=LEADERS),
        sf.NodeClassifier(**FAST).fit(graph, list(labels), train_mask=torch.from_numpy(LEADERS)),
        sf.NodeClassifier(**FAST).fit(graph, dict(enumerate(labels)), train_mask={0: True, 33: True}),
        sf.NodeClassifier(**FAST).fit(graph, partly),
        sf.NodeClassifier(**FAST).fit([graph], {0: labels[0], 33: labels[33]}),
        sf.NodeClassifier(**FAST).fit(carrying, "club", train_mask=LEADERS),
    ]
    expected = models[0].predict_proba(graph)
    for model in models:
        np.testing.assert_array_equal(model.predict_proba(graph), expected)
        assert model.classes_.tolist() == ["Mr. Hi", "Officer"]


def test_an_attribute_that_is_the_target_is_left_out_with_a_warning():
    carrying, labels = club(attributes=True)
    bare, _ = club()
    with pytest.warns(UserWarning, match="'club' tells the classes of y apart"):
        model = sf.NodeClassifier(**FAST).fit(carrying, labels, train_mask=LEADERS)
    expected = sf.NodeClassifier(**FAST).fit(bare, labels, train_mask=LEADERS)
    np.testing.assert_array_equal(model.predict_proba(carrying), expected.predict_proba(bare))
    reading = sf.NodeClassifier(ignore=(), **FAST).fit(carrying, labels, train_mask=LEADERS)
    assert any("club" in name for name in reading.tokenizer_.feature_names_)


@pytest.mark.parametrize("unknown", [None, -1, float("nan")])
def test_nodes_outside_the_mask_need_no_label(unknown):
    graph, labels = club()
    y = [int(label == "Officer") if known else unknown for label, known in zip(labels, LEADERS, strict=True)]
    model = sf.NodeClassifier(**FAST).fit(graph, y, train_mask=LEADERS)
    assert model.classes_.tolist() == [0, 1]
    assert model.predict(graph).dtype.kind == "i"


@models
def test_data_carries_labels_and_mask(kind):
    data = blocks()
    data.train_mask = torch.arange(60) < 24
    settings = {"model": kind, "random_state": 0, "epochs": 40, "width": 32, "verbose": False}
    model = sf.NodeClassifier(**settings).fit(data)
    rest = ~data.train_mask.numpy()
    assert (model.predict(data) == data.y.numpy())[rest].mean() > 0.85
    carried, told = sf.NodeClassifier(**FAST, model=kind), sf.NodeClassifier(**FAST, model=kind)
    told.fit(data, data.y.numpy(), train_mask=data.train_mask.numpy())
    np.testing.assert_array_equal(told.predict_proba(data), carried.fit(data).predict_proba(data))


def test_several_kinds_of_nodes():
    data = HeteroData()
    data["paper"].x, data["paper"].y = torch.randn(7, 3), torch.arange(7) % 2
    data["paper"].train_mask = torch.arange(7) < 4
    data["author"].x = torch.randn(5, 2)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 2, 3, 4], [0, 2, 4, 6, 1]])
    model = sf.NodeClassifier(**FAST).fit(data)
    assert model.predict(data).shape == (12,)
    assert model.learned_graph(data).num_tokens == 12


def test_a_watched_part_stops_training_and_is_not_learned_from():
    data = blocks()
    train, watched = np.arange(60) < 20, (np.arange(60) >= 20) & (np.arange(60) < 40)
    model = sf.NodeClassifier(**{**FAST, "epochs": 80}, patience=5, learning_rate=0.05)
    model.fit(data, train_mask=train, eval_mask=watched)
    assert model.history_.stopped == "patience"
    assert all(epoch.score is not None for epoch in model.history_.epochs)
    labels = model.learned_graph(data).labels
    assert [label is not None for label in labels] == train.tolist()


@models
def test_nodes_in_another_order_are_the_same_nodes(kind):
    graph, labels = club()
    model = sf.NodeClassifier(**FAST, model=kind).fit(graph, labels, train_mask=LEADERS)
    expected = model.predict_proba(graph)
    order = np.random.default_rng(0).permutation(34).tolist()
    moved = nx.Graph()
    moved.add_nodes_from((node, graph.nodes[node]) for node in order)
    moved.add_edges_from((v, u, held) for u, v, held in graph.edges(data=True))
    np.testing.assert_allclose(model.predict_proba(moved), expected[order], rtol=1e-9)
    learned, first = model.learned_graph(moved), model.learned_graph(graph)
    assert learned.names == [str(node) for node in order]
    assert [learned.names[i] for i, label in enumerate(learned.labels) if label] in (["0", "33"], ["33", "0"])
    names = [{(g.names[a], g.names[b]) for a, b in g.to_edge_index()[0].T.tolist()} for g in (learned, first)]
    assert names[0] == names[1]
    assert {(str(a), str(b)) for a, b in graph.edges} <= names[0]
    trained = sf.NodeClassifier(**FAST, model=kind).fit(moved, labels[order], train_mask=LEADERS[order])
    np.testing.assert_allclose(trained.predict_proba(graph), expected, rtol=1e-5)


@models
def test_nodes_alike_but_for_their_labels_do_not_depend_on_the_order(kind):
    # Leaves of one neighbour look the same, and only some of them are labelled.
    graph = nx.les_miserables_graph()
    nodes, rng = list(graph), np.random.default_rng(0)
    labels = np.array([int(graph.degree(node) > 6) for node in nodes])
    known = rng.random(len(nodes)) < 0.5
    model = sf.NodeClassifier(**FAST, model=kind).fit(graph, labels, train_mask=known)
    order = rng.permutation(len(nodes))
    shuffled = nx.Graph()
    shuffled.add_nodes_from(nodes[i] for i in order)
    shuffled.add_edges_from(graph.edges(data=True))
    expected = model.predict_proba(graph)[order]
    np.testing.assert_allclose(model.predict_proba(shuffled), expected, rtol=1e-9, atol=1e-12)
    again = sf.NodeClassifier(**FAST, model=kind).fit(shuffled, labels[order], train_mask=known[order])
    np.testing.assert_allclose(again.predict_proba(shuffled), expected, rtol=1e-9, atol=1e-12)
    ours, theirs = model.learned_graph(graph), model.learned_graph(shuffled)
    assert theirs.names == [ours.names[i] for i in order]
    moved = ours.to_scipy().toarray()[np.ix_(order, order)]
    np.testing.assert_allclose(theirs.to_scipy().toarray(), moved, atol=1e-9)


@models
def test_what_is_saved_knows_the_labels(tmp_path, kind):
    graph, labels = club()
    model = sf.NodeClassifier(**FAST, model=kind).fit(graph, labels, train_mask=LEADERS)
    expected = model.predict_proba(graph)
    again = sf.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(graph), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(graph), expected)
    assert again.learned_graph(graph).labels == model.learned_graph(graph).labels


def test_another_graph_has_no_labels_but_those_given():
    data, other = blocks(seed=0), blocks(seed=1)
    model = sf.NodeClassifier(**{**FAST, "epochs": 30}).fit(data, train_mask=np.arange(60) < 40)
    alone = model.predict_proba(other)
    told = model.predict_proba(other, known={node: int(other.y[node]) for node in range(30)})
    truth = other.y.numpy()[30:]
    assert (told.argmax(1)[30:] == truth).mean() >= (alone.argmax(1)[30:] == truth).mean()
    assert np.abs(told - alone).max() > 1e-3
    assert model.learned_graph(other).labels is None
    with pytest.raises(ValueError, match="known holds 7, which is not among the training classes"):
        model.predict(other, known={0: 7})


def test_what_tells_a_graph_from_others():
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    ring = TokenSet(torch.zeros(3, 1), edge_index=edges)
    assert fingerprint(ring, ["a", "b", "c"]) == fingerprint(ring, ["b", "c", "a"]), "it is the same ring"
    assert fingerprint(ring, ["a", "b", "c"]) != fingerprint(ring, ["a", "c", "b"]), "it runs the other way"
    assert fingerprint(ring, ["a", "b", "c"]) != fingerprint(ring, ["a", "b", "d"])
    alone = TokenSet(torch.tensor([[1.0], [2.0], [3.0]]))
    assert fingerprint(alone, ["a", "b", "c"]) == fingerprint(
        alone.permute(torch.tensor([1, 2, 0])), ["b", "c", "a"]
    )
    assert fingerprint(alone, ["a", "b", "c"]) != fingerprint(alone, ["b", "c", "a"]), (
        "they hold other things"
    )
    open_end = TokenSet(torch.zeros(3, 1), edge_index=edges[:, :2])
    assert fingerprint(ring, ["a", "b", "c"]) != fingerprint(open_end, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_mask": [True] * 33}, "train_mask has 33 entries, but the graph has 34 nodes"),
        ({"eval_mask": [True] * 35}, "eval_mask has 35 entries, but the graph has 34 nodes"),
        ({"y": ["x"] * 34}, "one class: 'x'"),
        ({"y": ["x", "y"] * 16}, "y has 32 labels, but the graph has 34 nodes"),
        ({"y": None}, "y must be given"),
        ({"y": ["x"] * 33 + ["y"], "train_mask": np.arange(34) < 5}, "one class: 'x'"),
        ({"eval_mask": np.arange(34) == 3}, "y under eval_mask holds 'new'"),
        ({"graph": nx.Graph()}, "has no nodes"),
        ({"graph": [nx.path_graph(3)] * 2}, r"single graph \(got 2\)"),
        ({"graph": []}, "at least 1 graph"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    graph, labels = club()
    labels = labels.astype(object)
    labels[3] = "new"
    arguments = {"graph": graph, "y": labels, "train_mask": LEADERS, **change}
    with pytest.raises(ValueError, match=message):
        sf.NodeClassifier(**FAST).fit(**arguments)


def test_an_edge_to_a_missing_node_is_named():
    data = Data(x=torch.randn(4, 2), edge_index=torch.tensor([[0, 1], [1, 9]]), y=torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="edge 1 names node 9, but there are 4"):
        sf.NodeClassifier(**FAST).fit(data)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_model_is_named():
    graph, labels = club()
    with pytest.raises(ValueError, match=r"""model must be "soes" or "ressformer" \(got 'nonsense'\)"""):
        sf.NodeClassifier(**FAST, model="nonsense").fit(graph, labels)

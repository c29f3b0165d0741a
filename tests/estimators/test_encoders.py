"""What encoders corrupt, learn and return."""

import pickle

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from torch_geometric.data import Data

import structformer as sf
from structformer.estimators.encoders import corrupted, self_supervised_loss
from structformer.models import SOESEncoderConfig, TokenInput
from structformer.models.encoder import Encoded
from structformer.models.masked import MaskedEncoder
from structformer.models.ressformer import ReSSFormerConfig
from structformer.tokens import TokenSet

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}
models = pytest.mark.parametrize("model", ["soes", "ressformer"])


def tokens(rng, edges=True):
    x, ptr = torch.randn(1009, 3, generator=rng), torch.tensor([0, 400, 1009])
    if not edges:
        return TokenSet(x, ptr)
    pairs = torch.randint(400, (2, 997), generator=rng)
    return TokenSet(x, ptr, pairs, torch.arange(997.0)[:, None])


def test_a_view_hides_tokens_and_drops_edges_with_their_attributes(rng):
    whole = tokens(rng)
    view, masked = corrupted(whole)
    assert 0.2 < masked.float().mean() < 0.4
    kept = view.edge_attr[:, 0].long()
    assert 0.7 < len(kept) / 997 < 0.9
    assert torch.equal(view.edge_index, whole.edge_index[:, kept])
    assert torch.equal(view.x, whole.x)
    other, also = corrupted(whole)
    assert not torch.equal(masked, also)
    assert view.edge_index.shape != other.edge_index.shape or not torch.equal(
        view.edge_index, other.edge_index
    )
    assert corrupted(tokens(rng, edges=False))[0].edge_index is None


@pytest.mark.parametrize("kind", [SOESEncoderConfig, ReSSFormerConfig])
def test_the_loss_teaches_every_parameter(rng, kind):
    part = tokens(rng).select(torch.tensor([0, 1]))
    config = kind(width=16, heads=2, neighbors=3, edge_features=1)
    model = MaskedEncoder(TokenInput(3, edge_features=1), config)
    loss = self_supervised_loss(model, part)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_what_the_encoder_adds_is_part_of_the_loss(rng, monkeypatch):
    part = tokens(rng, edges=False)
    model = MaskedEncoder(TokenInput(3), SOESEncoderConfig(width=16, heads=2, neighbors=3)).eval()
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(self_supervised_loss(model, part))
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    torch.testing.assert_close(losses[1], losses[0] + 7)


def blocks(seed=0):
    return nx.stochastic_block_model([30, 30], [[0.4, 0.02], [0.02, 0.4]], seed=seed)


def test_one_graph_gives_nodes_and_a_list_gives_graphs():
    one = nx.karate_club_graph()
    model = sf.GraphEncoder(**FAST).fit(one)
    assert model.transform(one).shape == (34, 16)
    assert model.transform([one]).shape == (1, 16)
    assert model.transform([one, one]).shape == (2, 16)
    assert model.fit_transform([nx.path_graph(4), nx.cycle_graph(5)]).shape == (2, 16)
    assert model.get_feature_names_out().tolist()[:2] == ["graphencoder0", "graphencoder1"]


@models
def test_what_is_saved_encodes_the_same(tmp_path, model):
    graph, sets = nx.karate_club_graph(), [np.arange(2.0 * n).reshape(n, 2) for n in range(1, 9)]
    for place, (kind, X) in enumerate([(sf.GraphEncoder, graph), (sf.SetEncoder, sets)]):
        encoder = kind(**FAST, model=model)
        vectors = encoder.fit_transform(X)
        again = sf.load(encoder.save(tmp_path / str(place)))
        assert type(again.model_.encoder) is type(encoder.model_.encoder)
        np.testing.assert_array_equal(again.transform(X), vectors)


@models
def test_node_vectors_follow_the_nodes(model):
    graph = nx.karate_club_graph()
    encoder = sf.GraphEncoder(**FAST, model=model).fit(graph)
    vectors = encoder.transform(graph)
    order = np.random.default_rng(0).permutation(34).tolist()
    moved = nx.Graph()
    moved.add_nodes_from((node, graph.nodes[node]) for node in order)
    moved.add_edges_from(graph.edges(data=True))
    np.testing.assert_allclose(encoder.transform(moved), vectors[order], atol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(encoder)).transform(graph), vectors, atol=0)
    again = sf.GraphEncoder(**FAST, model=model).fit(graph)
    np.testing.assert_array_equal(again.transform(graph), vectors)
    assert encoder.learned_graph(graph).names == [str(node) for node in graph]


def test_node_vectors_know_what_their_neighbours_hold():
    graph = blocks()
    draw = np.random.default_rng(0)
    side = np.arange(60) // 30
    # A node's own value says nothing; the mean over its neighbours says on which side it is.
    nx.set_node_attributes(graph, dict(enumerate(side + draw.normal(size=60) * 2.0)), "value")
    for held in ("block", "partition"):
        for _, attributes in graph.nodes(data=True):
            attributes.pop(held, None)
    vectors = sf.GraphEncoder(**{**FAST, "epochs": 60}).fit_transform(graph)
    train = draw.permutation(60) < 30
    own = np.array([[graph.nodes[node]["value"]] for node in graph])
    scores = [
        LogisticRegression(max_iter=1000).fit(x[train], side[train]).score(x[~train], side[~train])
        for x in (vectors, own)
    ]
    assert scores[0] > scores[1]


@models
def test_set_vectors_do_not_depend_on_company_or_order(model):
    draw = np.random.default_rng(0)
    sets = [draw.normal(size=(draw.integers(1, 9), 2)) for _ in range(20)]
    encoder = sf.SetEncoder(**FAST, model=model).fit(sets)
    vectors = encoder.transform(sets)
    np.testing.assert_allclose(encoder.transform(sets[3:4]), vectors[3:4], atol=1e-6)
    np.testing.assert_allclose(encoder.transform(sets[::-1]), vectors[::-1], atol=1e-6)
    assert np.isfinite(vectors).all()
    assert np.ptp(vectors, axis=0).min() > 0


@pytest.mark.parametrize(
    ("encoder", "X", "message"),
    [
        (sf.SetEncoder, [], "at least 1 set"),
        (sf.SetEncoder, [np.ones((2, 2)), np.ones((0, 2))], "set 1 has no elements"),
        (sf.GraphEncoder, [], "at least 1 graph"),
        (sf.GraphEncoder, nx.Graph(), "graph 0 has no nodes"),
        (sf.GraphEncoder, [nx.path_graph(3), nx.Graph()], "graph 1 has no nodes"),
    ],
)
def test_what_cannot_be_read_is_named(encoder, X, message):
    with pytest.raises(ValueError, match=message):
        encoder(**FAST).fit(X)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("encoder", "X"), [(sf.SetEncoder, [np.ones((2, 2))]), (sf.GraphEncoder, nx.path_graph(5))]
)
def test_an_unknown_model_is_named(encoder, X):
    with pytest.raises(ValueError, match=r"""model must be "soes" or "ressformer" \(got 'nonsense'\)"""):
        encoder(**FAST, model="nonsense").fit(X)


def test_nothing_is_encoded_before_fit():
    with pytest.raises(NotFittedError):
        sf.SetEncoder().transform([np.ones((2, 2))])
    with pytest.raises(NotFittedError):
        sf.GraphEncoder().learned_graph(nx.path_graph(3))


def test_without_edges_nodes_are_linked_to_their_like():
    """Chance is .34, and .53 was reached when edges were sought among what random maps make of the features."""
    X, y = load_wine(return_X_y=True)
    nodes = Data(x=torch.tensor(X, dtype=torch.float32), num_nodes=len(X))
    model = sf.GraphEncoder(width=16, heads=2, epochs=20, random_state=0, verbose=False).fit(nodes)
    assert model.learned_graph(nodes).homophily(y) > 0.85


def test_counted_words_are_compared_by_presence_also_after_loading(tmp_path):
    draw = np.random.default_rng(0)
    topic = np.arange(60) % 3
    words = (draw.random((60, 90)) < np.where(np.arange(90) // 30 == topic[:, None], 0.2, 0.02)).astype(
        np.float32
    )
    nodes = Data(x=torch.from_numpy(words), num_nodes=60)
    model = sf.GraphEncoder(**FAST).fit(nodes)
    assert model.model_.space.counted
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(sf.load(tmp_path / "model").transform(nodes), model.transform(nodes))

import json

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from torch_geometric.data import Batch

from structformer.tokenize import GraphTokenizer


def links(tokens):
    """The edges by token name."""
    return sorted((tokens.names[i], tokens.names[j]) for i, j in tokens.edge_index.T.tolist())


def awkward():
    """A directed multigraph with loops, parallel edges, isolated nodes and attributes of mixed type."""
    graph = nx.MultiDiGraph(name="awkward")
    graph.add_node("a", age=3, colour="red", place=[1.0, 2.0])
    graph.add_node(7, age=None, colour="blue", place=[3.0, 5.0])
    graph.add_node(("t", 1), age=5.5, place=[0.0, 2.0])
    graph.add_node("alone", colour="red")
    graph.add_edge("a", 7, weight=2.0, since="old")
    graph.add_edge("a", 7, weight=4.0)
    graph.add_edge(7, 7, weight=1)
    graph.add_edge(7, ("t", 1))
    return graph


@pytest.mark.parametrize(
    ("graph", "features", "attributes"),
    [
        (nx.karate_club_graph(), ["club=Mr. Hi", "club=Officer"], ["weight", "weight is missing"]),
        (nx.les_miserables_graph(), ["log in-degree", "log out-degree"], ["weight", "weight is missing"]),
        (nx.davis_southern_women_graph(), ["bipartite", "bipartite is missing"], []),
    ],
)
def test_real_graphs(graph, features, attributes):
    tokenizer = GraphTokenizer()
    tokens = tokenizer.fit_transform(graph)
    assert tokens.num_tokens == graph.number_of_nodes()
    assert tokens.names == list(map(str, graph.nodes))
    assert tokenizer.nodes(graph) == [list(graph.nodes)]
    assert tokenizer.feature_names_[:2] == features
    assert tokenizer.edge_feature_names_ == attributes
    assert tokens.x.shape[1] == tokenizer.num_features_
    assert links(tokens) == sorted((str(u), str(v)) for u, v in graph.to_directed().edges)


def test_no_attributes_means_structure():
    graph = nx.path_graph(5)
    tokenizer = GraphTokenizer(steps=3)
    tokens = tokenizer.fit_transform(graph)
    names = ["log in-degree", "log out-degree", "return in 1", "return in 2", "return in 3"]
    assert tokenizer.feature_names_ == names
    assert torch.equal(tokens.x[0], tokens.x[4])
    assert not torch.equal(tokens.x[0], tokens.x[1])
    assert (tokens.x[:, [2, 4]] == 0).all()
    assert tokens.edge_attr is None
    assert tokens.token_type is None


def test_structure_can_be_added_or_left_out():
    graph = nx.karate_club_graph()
    assert GraphTokenizer(structure=True, steps=5).fit(graph).num_features_ == 4 + 2 + 5
    assert GraphTokenizer(ignore=["club"], steps=5).fit(graph).num_features_ == 2 + 5
    bare = GraphTokenizer(structure=False).fit_transform(nx.path_graph(3))
    assert bare.x.shape == (3, 0)


def test_awkward_graph():
    graph = awkward()
    tokenizer = GraphTokenizer()
    tokens = tokenizer.fit_transform(graph)
    assert tokens.names == ["a", "7", "('t', 1)", "alone"]
    assert tokenizer.nodes(graph)[0] == ["a", 7, ("t", 1), "alone"]
    assert tokens.set_names == ["awkward"]
    assert tokens.edge_index.tolist() == [[0, 0, 1, 1], [1, 1, 1, 2]]
    expected = ["age", "age is missing", "colour=blue", "colour=red", "colour is unseen", "colour is missing"]
    assert tokenizer.feature_names_ == [*expected, "place.0", "place.1", "place is missing"]
    assert tokens.x[:, 1].tolist() == [0, 1, 0, 1]
    assert tokens.x[:, 5].tolist() == [0, 0, 1, 0]
    names = ["since=old", "since is unseen", "since is missing", "weight", "weight is missing"]
    assert tokenizer.edge_feature_names_ == names
    assert tokens.edge_attr[:, 2].tolist() == [0, 1, 1, 1]
    assert tokens.edge_attr[:, 4].tolist() == [0, 0, 0, 1]
    assert tokens.edge_attr[1, 3] > tokens.edge_attr[0, 3] > tokens.edge_attr[2, 3]


def test_relation_keys_are_an_edge_attribute():
    graph = nx.MultiDiGraph()
    graph.add_edge(0, 1, key="knows")
    graph.add_edge(0, 1, key="owes")
    tokenizer = GraphTokenizer().fit(graph)
    assert tokenizer.edge_feature_names_[:2] == ["key=knows", "key=owes"]
    assert tokenizer.transform(graph).edge_attr[:, :2].tolist() == [[1, 0], [0, 1]]


def test_labels_that_read_the_same_stay_apart():
    tokens = GraphTokenizer().fit_transform(nx.Graph([(1, "1"), (1, 2)]))
    assert tokens.names == ["1", "'1'", "2"]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), edge_tokens=st.booleans())
def test_shuffling_nodes_and_edges_permutes_tokens(seed, edge_tokens):
    generator = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(13, 0.2, seed=seed, directed=bool(seed % 2))
    for node in graph:
        graph.nodes[node].update(size=float(generator.normal()), kind="pqr"[generator.integers(3)])
    for _, _, data in graph.edges(data=True):
        data["weight"] = float(generator.normal())
    shuffled = type(graph)()
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    shuffled.add_nodes_from([nodes[i] for i in generator.permutation(len(nodes))])
    shuffled.add_edges_from([edges[i] for i in generator.permutation(len(edges))])
    tokenizer = GraphTokenizer(edge_tokens=edge_tokens, structure=True, steps=4)
    before = tokenizer.fit_transform(graph)
    after = GraphTokenizer(edge_tokens=edge_tokens, structure=True, steps=4).fit_transform(shuffled)

    def by_name(tokens):
        # An undirected edge may be read from either end, so its token is known by the set of its ends.
        keys = [tuple(sorted(name.split(" -- "))) for name in tokens.names]
        rows = dict(zip(keys, tokens.x, strict=True))
        ends = [(keys[i], keys[j]) for i, j in tokens.edge_index.T.tolist()]
        weights = tokens.edge_attr if tokens.edge_attr is not None else torch.zeros(len(ends), 0)
        return rows, dict(zip(ends, weights, strict=True))

    for one, other in zip(by_name(before), by_name(after), strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            torch.testing.assert_close(other[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("edge_tokens", [False, True])
def test_a_graph_is_the_same_in_any_batch(edge_tokens):
    graphs = [nx.gnp_random_graph(n, 0.4, seed=n, directed=n % 2 == 0) for n in (5, 2, 11, 1, 8)]
    tokenizer = GraphTokenizer(edge_tokens=edge_tokens, steps=6)
    tokens = tokenizer.fit_transform(graphs)
    assert tokens.num_sets == 5
    assert tokens.set_names == [f"graph {i}" for i in range(5)]
    for index, graph in enumerate(graphs):
        start, stop = tokens.ptr[index : index + 2].tolist()
        alone = tokenizer.transform(graph)
        assert torch.equal(alone.x, tokens.x[start:stop])
        inside = (tokens.edge_index[0] >= start) & (tokens.edge_index[0] < stop)
        pairs = (tokens.edge_index[:, inside] - start).T.tolist()
        assert sorted(pairs) == sorted(alone.edge_index.T.tolist())
        assert alone.names == tokens.names[start:stop]


def test_edges_as_tokens():
    graph = nx.Graph()
    graph.add_node("a", size=1.0)
    graph.add_node("b", size=3.0)
    graph.add_edge("a", "b", weight=5.0)
    graph.add_edge("b", "b", weight=7.0)
    tokenizer = GraphTokenizer(edge_tokens=True)
    tokens = tokenizer.fit_transform(graph)
    assert tokens.names == ["a", "b", "a -- b", "b -- b"]
    assert tokens.token_type.tolist() == [0, 0, 1, 1]
    assert tokenizer.feature_names_ == ["size", "size is missing", "weight", "weight is missing"]
    assert tokens.x.tolist() == [[-1, 0, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 1, 0]]
    both = [("a", "a -- b"), ("a -- b", "b"), ("b", "a -- b"), ("a -- b", "a")]
    assert links(tokens) == sorted([*both, ("b", "b -- b"), ("b -- b", "b")])
    assert tokens.edge_attr is None
    directed = GraphTokenizer(edge_tokens=True).fit_transform(nx.DiGraph([("a", "b")]))
    assert links(directed) == [("a", "a -> b"), ("a -> b", "b")]


def test_unseen_at_transform():
    train = nx.karate_club_graph()
    tokenizer = GraphTokenizer().fit(train)
    other = nx.path_graph(3)
    nx.set_node_attributes(other, {0: "Mr. Hi", 1: "Stranger"}, "club")
    nx.set_edge_attributes(other, 2, "weight")
    assert tokenizer.transform(other).x.argmax(1).tolist() == [0, 2, 3]
    nx.set_node_attributes(other, 1, "age")
    with pytest.warns(UserWarning, match=r"node attributes not seen in training are ignored: \['age'\]"):
        tokenizer.transform(other)
    with pytest.raises(
        ValueError, match=r"the node attributes \['club'\] of the training graphs are missing"
    ):
        tokenizer.transform(nx.path_graph(3))
    no_edges = nx.empty_graph(2)
    nx.set_node_attributes(no_edges, "Officer", "club")
    tokens = tokenizer.transform(no_edges)
    assert tokens.edge_index.shape == (2, 0)
    assert tokens.edge_attr.shape == (0, 2)


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ([], "graphs is empty"),
        (nx.Graph(), "graph 0 has no nodes"),
        ([nx.path_graph(2), nx.DiGraph()], "graph 1 has no nodes"),
    ],
)
def test_errors_name_the_graph(graphs, message):
    with pytest.raises(ValueError, match=message):
        GraphTokenizer().fit(graphs)


def test_errors_name_node_edge_and_attribute():
    bad = nx.Graph([("u", "v")])
    bad.nodes["v"]["size"] = float("inf")
    with pytest.raises(ValueError, match="node attribute 'size' of node 'v' of graph 1 is inf"):
        GraphTokenizer().fit([nx.path_graph(2), bad])
    bad = nx.Graph()
    bad.add_edge("u", "v", weight={})
    with pytest.raises(ValueError, match=r"edge attribute 'weight' of edge \('u', 'v'\) is a dict"):
        GraphTokenizer().fit(bad)
    GraphTokenizer(ignore=["weight"]).fit(bad)


@pytest.mark.parametrize("wrong", [np.eye(3), torch.eye(3), "graph.gml", 3, [nx.path_graph(2), np.eye(2)]])
def test_not_a_graph(wrong):
    with pytest.raises(TypeError, match=r"must be networkx graphs, PyG Data or HeteroData|Type-check"):
        GraphTokenizer().fit(wrong)


def test_wrong_settings_and_use():
    with pytest.raises(ValueError, match=r"steps must be at least 0 \(got -1\)"):
        GraphTokenizer(steps=-1)
    with pytest.raises(TypeError, match="ignore must be a list"):
        GraphTokenizer(ignore="club")
    with pytest.raises(NotFittedError):
        GraphTokenizer().transform(nx.path_graph(2))


@pytest.mark.parametrize("graph", [awkward(), nx.les_miserables_graph()])
@pytest.mark.parametrize("edge_tokens", [False, True])
def test_state_is_json(graph, edge_tokens):
    tokenizer = GraphTokenizer(edge_tokens, ignore=["place"], steps=5).fit(graph)
    again = GraphTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    expected, found = tokenizer.transform(graph), again.transform(graph)
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.edge_index, expected.edge_index)
    assert again.feature_names_ == tokenizer.feature_names_
    assert again.to_dict() == tokenizer.to_dict()


def test_batches_and_loops_of_graphs_are_lists():
    graphs = [nx.path_graph(n) for n in (2, 3)]
    expected = GraphTokenizer().fit_transform(graphs).x
    assert torch.equal(GraphTokenizer().fit_transform(iter(graphs)).x, expected)
    tokens = GraphTokenizer().fit_transform(graphs)
    joined = Batch.from_data_list([tokens.select(torch.tensor([0])), tokens.select(torch.tensor([1]))])
    assert torch.equal(joined.x, expected)


def test_what_file_formats_add_is_left_out():
    graph = nx.Graph()
    for name in "uvw":
        graph.add_node(name, label=name, size=ord(name))
    graph.add_edge("u", "v", id="0", weight=3.0)
    tokenizer = GraphTokenizer().fit(graph)
    assert tokenizer.feature_names_ == ["size", "size is missing"]
    assert tokenizer.edge_feature_names_ == ["weight", "weight is missing"]

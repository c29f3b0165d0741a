import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

from structformer.tokenize import GraphTokenizer


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return Data(
        x=torch.randn(5, 3, generator=generator),
        edge_index=torch.tensor([[0, 1, 2, 2], [1, 2, 2, 0]]),
        edge_attr=torch.tensor([1.0, 2.0, 3.0, 6.0]),
        y=torch.tensor([0, 1, 0, 1, 1]),
        train_mask=torch.tensor([True, True, False, False, False]),
    )


@pytest.fixture
def hetero():
    data = HeteroData()
    data["author"].x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 8.0]])
    data["paper"].x = torch.tensor([[2.0], [4.0]])
    data["paper"].y = torch.tensor([1, 0])
    data["paper"].train_mask = torch.tensor([True, False])
    data["author", "wrote", "paper"].edge_index = torch.tensor([[0, 2], [1, 0]])
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0], [1]])
    data["paper", "cites", "paper"].edge_attr = torch.tensor([[0.5]])
    return data


def test_fields_are_carried_over(data):
    tokenizer = GraphTokenizer()
    tokens = tokenizer.fit_transform(data)
    x = data.x.double()
    torch.testing.assert_close(
        tokens.x.double(), (x - x.mean(0)) / x.std(0, correction=0), rtol=1e-5, atol=1e-6
    )
    assert torch.equal(tokens.edge_index, data.edge_index)
    assert torch.equal(tokens.y, data.y)
    assert torch.equal(tokens.train_mask, data.train_mask)
    assert tokens.edge_attr.shape == (4, 1)
    assert tokens.names is None
    assert tokenizer.nodes(data) == [[0, 1, 2, 3, 4]]
    assert GraphTokenizer(ignore=["y"]).fit_transform(data).y is None


def test_bag_of_words_is_not_copied():
    words = (torch.rand(31, 1433, generator=torch.Generator().manual_seed(0)) < 0.01).float()
    graph = Data(x=words, edge_index=torch.zeros(2, 0, dtype=torch.long))
    tokens = GraphTokenizer().fit_transform(graph)
    assert tokens.x.data_ptr() == words.data_ptr()
    sparse = Data(x=words.to_sparse(), edge_index=graph.edge_index)
    assert torch.equal(GraphTokenizer().fit_transform(sparse).x, words)


def test_coordinates_and_weights_are_attributes():
    graph = Data(pos=torch.randn(4, 3), edge_index=torch.tensor([[0], [1]]), edge_weight=torch.tensor([2.0]))
    tokenizer = GraphTokenizer().fit(graph)
    assert tokenizer.feature_names_ == ["pos.0", "pos.1", "pos.2"]
    assert tokenizer.edge_feature_names_ == ["edge_weight"]


def test_without_features_structure_serves():
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=4)
    tokens = GraphTokenizer(steps=2).fit_transform(graph)
    assert tokens.x.shape == (4, 4)
    assert GraphTokenizer(steps=2).fit_transform(Data(edge_index=graph.edge_index)).num_tokens == 3


def test_atom_codes_become_categories():
    graphs = [
        Data(
            x=torch.tensor([[6], [8]]),
            edge_index=torch.tensor([[0, 1], [1, 0]]),
            edge_attr=torch.tensor([2, 2]),
        ),
        Data(x=torch.tensor([[6]]), edge_index=torch.zeros(2, 0, dtype=torch.long)),
    ]
    graphs[1].edge_attr = torch.zeros(0, dtype=torch.long)
    tokenizer = GraphTokenizer()
    tokens = tokenizer.fit_transform(graphs)
    assert tokenizer.feature_names_ == ["x=6", "x=8", "x is unseen"]
    assert tokens.x.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert tokens.edge_attr.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([[0, 1], [1, 0, 1]], [0, 1, 1, 0, 1]),
        ([[2], [3]], [2, 3]),
        ([2, 3], [2, 3]),
        ([[[1.0, 2.0]], [[3.0, 4.0]]], [[1, 2], [3, 4]]),
        ([[2], None], None),
    ],
)
def test_targets_of_nodes_and_of_graphs(targets, expected):
    graphs = [Data(x=torch.randn(n, 2), edge_index=torch.zeros(2, 0, dtype=torch.long)) for n in (2, 3)]
    for graph, target in zip(graphs, targets, strict=True):
        if target is not None:
            graph.y = torch.tensor(target)
    y = GraphTokenizer().fit_transform(graphs).y
    assert (None if y is None else y.tolist()) == expected
    batch = Batch.from_data_list(graphs[:1])
    assert GraphTokenizer().fit_transform(batch).num_sets == 1


def test_edge_tokens_of_undirected_and_directed_data(data):
    tokens = GraphTokenizer(edge_tokens=True).fit_transform(data)
    assert tokens.num_tokens == 9
    assert tokens.y.tolist() == [0, 1, 0, 1, 1, -1, -1, -1, -1]
    assert tokens.train_mask.tolist() == [True, True] + 7 * [False]
    assert tokens.edge_index.T.tolist() == [[0, 5], [1, 6], [2, 7], [2, 8], [5, 1], [6, 2], [7, 2], [8, 0]]
    twice = Data(
        x=data.x, edge_index=torch.tensor([[0, 1, 3], [1, 0, 3]]), edge_attr=torch.tensor([2.0, 2.0, 5.0])
    )
    tokens = GraphTokenizer(edge_tokens=True).fit_transform(twice)
    assert tokens.num_tokens == 5 + 2
    assert len(tokens.edge_index.T) == 4 + 2
    twice.edge_attr[0] = 1.0
    assert GraphTokenizer(edge_tokens=True).fit_transform(twice).num_tokens == 5 + 3


def test_heterogeneous_graphs(hetero):
    tokenizer = GraphTokenizer()
    tokens = tokenizer.fit_transform(hetero)
    assert tokenizer.node_types_ == ("author", "paper")
    assert tokenizer.edge_types_ == ("author wrote paper", "paper cites paper")
    assert tokens.token_type.tolist() == [0, 0, 0, 1, 1]
    assert tokens.names == ["author 0", "author 1", "author 2", "paper 0", "paper 1"]
    assert tokenizer.feature_names_ == ["author.x.0", "author.x.1", "paper.x"]
    assert tokens.x[:, 2].tolist() == [0, 0, 0, -1, 1]
    assert (tokens.x[3:, :2] == 0).all()
    assert (tokens.x[:3, 0] == tokens.x[:3, 0].sort().values).all()
    assert tokens.edge_index.tolist() == [[0, 2, 3], [4, 3, 4]]
    assert tokens.edge_attr[:, -2:].tolist() == [[1, 0], [1, 0], [0, 1]]
    assert tokens.y.tolist() == [-1, -1, -1, 1, 0]
    assert tokens.train_mask.tolist() == [False, False, False, True, False]
    assert tokenizer.nodes(hetero)[0][3] == ("paper", 0)
    again = GraphTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert torch.equal(again.transform([hetero, hetero]).x[5:], tokens.x)


def test_heterogeneous_edge_tokens_and_types_without_features(hetero):
    tokens = GraphTokenizer(edge_tokens=True).fit_transform(hetero)
    assert tokens.token_type.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    hetero["venue"].num_nodes = 2
    tokenizer = GraphTokenizer(steps=2)
    tokens = tokenizer.fit_transform(hetero)
    assert tokenizer.feature_names_[3:] == ["log in-degree", "log out-degree", "return in 1", "return in 2"]
    assert tokens.token_type.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_unknown_types(hetero):
    tokenizer = GraphTokenizer().fit(hetero)
    hetero["venue"].num_nodes = 2
    with pytest.raises(ValueError, match=r"graph 0 has types that the training graphs lack: \['venue'\]"):
        tokenizer.transform(hetero)
    with pytest.raises(ValueError, match="graph 0: HeteroData and graphs without types cannot be mixed"):
        tokenizer.transform(Data(x=torch.ones(2, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_index": torch.tensor([[0, 1], [1, 17]])}, "graph 0: edge 1 names node 17, but there are 5"),
        ({"edge_index": torch.tensor([[0, -1], [1, 2]])}, "graph 0: edge 1 names node -1"),
        ({"edge_index": torch.tensor([0, 1])}, r"edge_index must be integers of shape \[2, E\]"),
        ({"edge_attr": torch.ones(3)}, r"edge_attr must have shape \[4, F\] \(got \[3\]\)"),
        ({"x": torch.tensor([[1.0], [np.nan], [1], [1], [1]])}, "'x' of node 1 is nan in column 0"),
        (
            {"edge_attr": torch.tensor([1, 2, torch.inf, 3])},
            r"'edge_attr' of edge \(2, 2\) is inf in column 0",
        ),
        ({"y": torch.zeros(3)}, "graph 0: y has 3 entries, but there are 5 nodes"),
        (
            {"train_mask": torch.ones(4, dtype=torch.bool)},
            "graph 0: train_mask has 4 entries, but there are 5",
        ),
        ({"x": torch.zeros(0, 3), "edge_index": torch.zeros(2, 0, dtype=torch.long)}, "no nodes|shape"),
    ],
)
def test_errors_name_the_culprit(data, changes, message):
    for name, value in changes.items():
        data[name] = value
    with pytest.raises(ValueError, match=message):
        GraphTokenizer().fit_transform(data)


def test_features_in_some_graphs_only(data):
    with pytest.raises(ValueError, match="graph 1 has no node attribute 'x', but other graphs have"):
        GraphTokenizer().fit([data, Data(num_nodes=3, edge_index=data.edge_index, edge_attr=data.edge_attr)])

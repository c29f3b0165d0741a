import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from structformer.datasets import planetoid


@pytest.mark.parametrize(
    ("name", "nodes", "words", "links", "classes", "train"),
    [
        ("cora", 2_708, 1_433, 5_278, 7, 140),
        ("citeseer", 3_327, 3_703, 4_552, 6, 120),
        ("pubmed", 19_717, 500, 44_324, 3, 60),
    ],
)
def test_the_real_networks(real, name, nodes, words, links, classes, train):
    real(f"planetoid/{name}")
    data = planetoid(name)
    assert data.x.shape == (nodes, words)
    assert data.edge_index.shape == (2, 2 * links)
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.y.unique().tolist() == list(range(classes))
    parts = (data.train_mask, data.val_mask, data.test_mask)
    assert [int(part.sum()) for part in parts] == [train, 500, 1_000]
    assert int(torch.stack(parts).sum(0).max()) == 1
    assert torch.bincount(data.y[data.train_mask]).tolist() == [20] * classes
    # Papers that the numbering leaves out are in no part of the split.
    empty = data.x.abs().sum(1) == 0
    assert int(empty.sum()) == (15 if name == "citeseer" else 0)
    assert not (empty & torch.stack(parts).any(0)).any()


@pytest.fixture
def small(given):
    """Papers in a ring: 4 to train on, 500 to choose by, one, and 3 of a test of 4, whose files are out of order."""
    generator = np.random.default_rng(0)
    known, tested = 505, [508, 505, 507]
    words = (generator.random((known + 3, 5)) < 0.5).astype(np.float32)
    labels = np.eye(3, dtype=np.int32)[generator.integers(0, 3, known + 3)]
    nodes = known + 4
    graph = {node: [(node + 1) % nodes, (node - 1) % nodes, node] for node in range(nodes)}
    graph[0].append(1)
    parts = {
        "x": csr_matrix(words[:4]),
        "y": labels[:4],
        "allx": csr_matrix(words[:known]),
        "ally": labels[:known],
        "tx": csr_matrix(words[known:]),
        "ty": labels[known:],
        "graph": graph,
    }
    files = {f"planetoid/ind.citeseer.{name}": pickle.dumps(part) for name, part in parts.items()}
    files["planetoid/ind.citeseer.test.index"] = "".join(f"{index}\n" for index in tested).encode()
    given("planetoid/citeseer", files)
    return words, labels, tested


def test_test_papers_are_put_in_their_places(small):
    words, labels, tested = small
    data = planetoid("citeseer")
    assert data.num_nodes == 509
    assert torch.equal(data.x[:505], torch.from_numpy(words[:505]))
    for place, row in zip(sorted(tested), np.argsort(tested), strict=True):
        assert data.test_mask[place]
        assert data.x[tested[row]].tolist() == words[505 + row].tolist()
        assert int(data.y[tested[row]]) == int(labels[505 + row].argmax())
    assert not data.x[506].any()
    assert not (data.train_mask | data.val_mask | data.test_mask)[506]
    assert data.edge_index.shape == (2, 2 * 509)


def test_nothing_is_unpickled_before_its_checksum_is_right(given):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    folder = given("planetoid/cora", {"planetoid/ind.cora.x": pickle.dumps("another")})
    (folder / "planetoid/ind.cora.x").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"ind\.cora\.x is damaged, cut short, or another version"):
        planetoid("cora")


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match=r"name must be one of cora, citeseer, pubmed \(got 'Cora'\)"):
        planetoid("Cora")

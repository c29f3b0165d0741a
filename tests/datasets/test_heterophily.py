from io import BytesIO

import numpy as np
import pytest
import torch
from structformer.datasets import heterophilous


@pytest.mark.parametrize(
    ("name", "nodes", "features", "links", "classes"),
    [
        ("actor", 7_600, 932, 26_659, 5),
        ("chameleon", 890, 2_325, 8_854, 5),
        ("minesweeper", 10_000, 7, 39_402, 2),
    ],
)
def test_the_real_networks(real, name, nodes, features, links, classes):
    real(f"heterophilous/{name}")
    data = heterophilous(name)
    assert data.x.shape == (nodes, features)
    assert data.edge_index.shape == (2, 2 * links)
    assert data.is_undirected()
    assert data.y.unique().tolist() == list(range(classes))
    parts = (data.train_mask, data.val_mask, data.test_mask)
    assert all(part.shape == (nodes, 10) for part in parts)
    assert int(torch.stack(parts).sum(0).max()) == 1
    for part in parts:
        assert len({tuple(column.tolist()) for column in part.t()}) == 10
    assert 0.45 * nodes < int(data.train_mask[:, 0].sum()) < 0.55 * nodes


def test_links_are_there_both_ways_and_splits_in_columns(given):
    generator = np.random.default_rng(0)
    parts = generator.integers(0, 3, (10, 7))
    masks = {f"{name}_masks": parts == number for number, name in enumerate(("train", "val", "test"))}
    packed = BytesIO()
    np.savez(
        packed,
        node_features=np.arange(14).reshape(7, 2),
        node_labels=np.arange(7) % 2,
        edges=np.array([[0, 1], [2, 5], [6, 3]]),
        **masks,
    )
    given("heterophilous/minesweeper", {"heterophilous/minesweeper.npz": packed.getvalue()})
    data = heterophilous("minesweeper")
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == np.arange(14).reshape(7, 2).tolist()
    assert set(map(tuple, data.edge_index.t().tolist())) == {(0, 1), (1, 0), (2, 5), (5, 2), (6, 3), (3, 6)}
    for name in ("train", "val", "test"):
        assert data[f"{name}_mask"].tolist() == masks[f"{name}_masks"].T.tolist()


def test_an_unknown_network_is_named():
    with pytest.raises(
        ValueError, match=r"name must be one of actor, chameleon, minesweeper \(got 'texas'\)"
    ):
        heterophilous("texas")

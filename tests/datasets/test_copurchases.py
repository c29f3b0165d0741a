from io import BytesIO

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from structformer.datasets import amazon_photo


def test_the_real_network(real):
    real("amazon_photo")
    data = amazon_photo()
    assert data.x.shape == (7_650, 745)
    assert data.is_undirected()
    assert data.y.unique().tolist() == list(range(8))
    assert "train_mask" not in data
    assert data.edge_index.shape == (2, 2 * 119_081)
    assert not data.has_self_loops()


def packed(links):
    file = BytesIO()
    arrays = {
        "adj_matrix": np.array(csr_matrix(links), dtype=object),
        "node_attr": np.array(csr_matrix(np.eye(3)), dtype=object),
    }
    np.savez(file, node_label=np.array([1, 0, 1]), **arrays)
    return file.getvalue()


def test_links_are_there_both_ways(given):
    given("amazon_photo", {"amazon/amazon_photo.npz": packed([[0, 1, 0], [0, 0, 0], [0, 1, 1]])})
    data = amazon_photo()
    assert data.x.tolist() == np.eye(3).tolist()
    assert data.y.tolist() == [1, 0, 1]
    assert set(map(tuple, data.edge_index.t().tolist())) == {(0, 1), (1, 0), (2, 1), (1, 2)}


def test_nothing_is_unpickled_before_its_checksum_is_right(given):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    folder = given("amazon_photo", {"amazon/amazon_photo.npz": packed(np.eye(3))})
    file = BytesIO()
    np.savez(file, adj_matrix=np.array(Trap(), dtype=object))
    (folder / "amazon/amazon_photo.npz").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"amazon_photo\.npz is damaged, cut short, or another version"):
        amazon_photo()

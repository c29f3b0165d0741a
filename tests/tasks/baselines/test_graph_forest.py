import numpy as np
import pytest
import torch
from structformer.tasks.baselines.graph_forest import BITS, MOST_DEGREE, counts, fingerprint
from torch_geometric.data import Data


def test_a_graph_is_counted_whatever_the_order_of_its_nodes(rng):
    edges = torch.randint(9, (2, 31), generator=rng)
    x, perm = torch.rand(9, 2, generator=rng), torch.randperm(9, generator=rng)
    found = counts(Data(x=x, edge_index=edges))
    moved = counts(Data(x=x[perm], edge_index=torch.argsort(perm)[edges]))
    np.testing.assert_allclose(moved, found, rtol=1e-6)
    assert found.shape == (2 + 2 + MOST_DEGREE + 1,)
    assert found[4:].sum() == 9


def test_large_degrees_share_a_count_and_lone_nodes_have_theirs():
    star = torch.stack([torch.arange(1, 30), torch.zeros(29, dtype=torch.long)])
    found = counts(Data(x=torch.ones(30, 1), edge_index=star))
    assert found[3:].tolist() == [29, *[0] * (MOST_DEGREE - 1), 1]
    none = counts(Data(x=torch.ones(1, 1), edge_index=torch.zeros(2, 0, dtype=torch.long)))
    assert none.tolist() == [1, 1, 0, 1, *[0] * MOST_DEGREE]


def test_a_molecule_is_the_same_however_it_is_written():
    pytest.importorskip("rdkit")
    ethanol, again, other = (fingerprint(Data(smiles=text)) for text in ("CCO", "OCC", "CCN"))
    assert ethanol.shape == (BITS,)
    assert np.array_equal(ethanol, again)
    assert not np.array_equal(ethanol, other)

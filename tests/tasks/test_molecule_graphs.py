import sys

import numpy as np
import pytest
import torch
from structformer.tasks.molecule_graphs import BONDS, ELEMENTS, molecule_graphs

pytest.importorskip("rdkit")


def atoms(graph):
    return [ELEMENTS[row.argmax()] if row.any() else "?" for row in graph.x[:, : len(ELEMENTS)]]


def test_ethanol_by_hand():
    (graph,) = molecule_graphs(["CCO"])
    assert atoms(graph) == ["C", "C", "O"]
    assert set(map(tuple, graph.edge_index.T.tolist())) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert graph.edge_attr.tolist() == [[1, 0, 0, 0, 0, 0, 0]] * 4
    columns = graph.x[:, len(ELEMENTS) + 1 :]
    chirality, degree, charge, hydrogens = columns[:, :2], columns[:, 2:9], columns[:, 9], columns[:, 10:15]
    assert not chirality.any()
    assert degree.argmax(1).tolist() == [4, 4, 2]
    assert not charge.any()
    assert hydrogens.argmax(1).tolist() == [3, 2, 1]
    assert graph.smiles == "CCO"


def test_bonds_have_their_types():
    for smiles, kind in {"CC": "SINGLE", "C=C": "DOUBLE", "C#C": "TRIPLE", "c1ccccc1": "AROMATIC"}.items():
        (graph,) = molecule_graphs([smiles])
        assert BONDS[int(graph.edge_attr[0, :4].argmax())] == kind


def test_mirror_images_and_the_two_sides_of_a_double_bond_are_told_apart():
    left, right, cis, trans = molecule_graphs(["N[C@@H](C)O", "N[C@H](C)O", "F/C=C\\F", "F/C=C/F"])
    assert not torch.equal(left.x, right.x)
    assert torch.equal(left.edge_attr, right.edge_attr)
    assert not torch.equal(cis.edge_attr, trans.edge_attr)


def test_rings_charges_and_rare_elements_are_seen():
    ring, ion, rare, alone = molecule_graphs(["C1CC1", "[NH4+]", "[Pt]", "[Na+].[Cl-]"])
    assert ring.x[:, -1].tolist() == [1, 1, 1]
    assert ion.x[0, len(ELEMENTS) + 1 + 9] == 1
    assert atoms(rare) == ["?"]
    assert rare.x[0, len(ELEMENTS)] == 1
    assert alone.edge_index.shape == (2, 0)
    assert alone.edge_attr.shape == (0, 7)


def test_what_rdkit_refuses_is_none(capfd):
    found = molecule_graphs(["CCO", "C(C)(C)(C)(C)C", "no molecule", "", "CO"])
    assert [graph is None for graph in found] == [False, True, True, True, False]
    assert capfd.readouterr().err == ""


def test_the_order_of_the_text_changes_nothing_but_the_order():
    one, other = molecule_graphs(["CC(=O)Oc1ccccc1C(=O)O", "O=C(O)c1ccccc1OC(C)=O"])
    for first, second in ((one.x, other.x), (one.edge_attr, other.edge_attr)):
        assert np.array_equal(np.unique(first, axis=0), np.unique(second, axis=0))
        assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist()))


def test_without_rdkit_one_learns_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ModuleNotFoundError, match="pip install rdkit"):
        molecule_graphs(["C"])

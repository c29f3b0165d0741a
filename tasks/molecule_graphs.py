"""Molecules as graphs: from SMILES to atoms and bonds with the features of the Open Graph Benchmark, by rdkit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch_geometric.data import Data

# Elements with a column of their own, the frequent ones of drug-like molecules; others share the last column.
ELEMENTS = ("C", "N", "O", "S", "F", "Cl", "Br", "I", "P", "B", "Si", "Se", "Na")
DEGREES = range(7)
HYDROGENS = range(5)
CHIRALITIES = ("CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW")
HYBRIDS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
STEREO = ("STEREOZ", "STEREOE")


def molecule_graphs(smiles: Iterable[str]) -> list[Data | None]:
    """Return a graph for each molecule, None where rdkit refuses it or finds no atom.

    Raises:
        ModuleNotFoundError: If rdkit is not installed; the message says how to get it.
    """
    try:
        from rdkit import Chem, rdBase
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("molecules need rdkit: pip install rdkit") from error
    found: list[Data | None] = []
    with rdBase.BlockLogs():
        for text in smiles:
            molecule = Chem.MolFromSmiles(text)
            refused = molecule is None or not molecule.GetNumAtoms()
            found.append(None if refused else molecule_graph(molecule, text))
    return found


def molecule_graph(molecule: Any, smiles: str) -> Data:
    """Return a molecule's graph: ``x`` of atoms, ``edge_attr`` of bonds, each bond both ways, and ``smiles``.

    The features are those of OGB (Hu et al. 2020, arXiv 2005.00687, `ogb.utils.features`): of an atom its element,
    chirality, degree, charge, hydrogens, unpaired electrons, hybridisation, and whether it is aromatic or in a ring;
    of a bond its type, stereo configuration, and whether it is conjugated. Values that hardly occur share a column.

    Args:
        molecule: rdkit's molecule.
        smiles: The text it was read from.
    """
    pairs, bonds = [], []
    for bond in molecule.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        pairs += [ends, ends[::-1]]
        bonds += [_bond(bond)] * 2
    return Data(
        x=torch.tensor([_atom(atom) for atom in molecule.GetAtoms()], dtype=torch.float32),
        edge_index=torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t().contiguous(),
        edge_attr=torch.tensor(bonds, dtype=torch.float32).reshape(-1, len(BONDS) + len(STEREO) + 1),
        smiles=smiles,
    )


def _atom(atom: Any) -> list[float]:
    return [
        *_one_of(atom.GetSymbol(), ELEMENTS),
        float(atom.GetSymbol() not in ELEMENTS),
        *_one_of(str(atom.GetChiralTag()), CHIRALITIES),
        *_one_of(atom.GetTotalDegree(), DEGREES),
        float(atom.GetFormalCharge()),
        *_one_of(atom.GetTotalNumHs(), HYDROGENS),
        float(atom.GetNumRadicalElectrons()),
        *_one_of(str(atom.GetHybridization()), HYBRIDS),
        float(atom.GetIsAromatic()),
        float(atom.IsInRing()),
    ]


def _bond(bond: Any) -> list[float]:
    return [
        *_one_of(str(bond.GetBondType()), BONDS),
        *_one_of(str(bond.GetStereo()), STEREO),
        float(bond.GetIsConjugated()),
    ]


def _one_of(value: Any, known: Sequence[Any]) -> list[float]:
    return [float(value == one) for one in known]

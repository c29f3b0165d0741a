"""Molecules as SMILES, each with a property: HIV, BBBP and ESOL of MoleculeNet."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import pandas as pd

from .names import one_of
from .store import read

TARGETS = {"HIV": "HIV_active", "BBBP": "p_np", "ESOL": "measured log solubility in mols per litre"}
PARTS = ("train", "val", "test")


def molecules(name: Literal["HIV", "BBBP", "ESOL"]) -> pd.DataFrame:
    """Return molecules of Wu et al. 2018 (arXiv 1703.00564).

    Returns:
        A row a molecule, with its `smiles`, its property `target`, and its part `split` of the scaffold split: train,
        val or test; missing for ESOL, which has none.

    Raises:
        ValueError: If there is no such set, or a file is damaged.
        FileNotFoundError: If it was not downloaded.
    """
    files = read(f"molecules/{one_of('name', name, tuple(TARGETS))}")
    given = pd.read_csv(BytesIO(files[f"molecules/{name}.csv.gz"]), compression="gzip")
    frame = pd.DataFrame({"smiles": given["smiles"].str.strip(), "target": given[TARGETS[name]]})
    frame["split"] = pd.Series(pd.NA, index=frame.index, dtype="string")
    indices = files.get(f"molecules/{name}.scaffold122.ind.pkl")
    if indices is not None:
        # Unpickling is safe for none but this file, whose checksum is known.
        for part, rows in zip(PARTS, pd.read_pickle(BytesIO(indices)), strict=True):
            frame.loc[rows, "split"] = part
    return frame

"""Where the real data of benchmarks lies."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "STRUCTFORMER_DATA"


def data_folder() -> Path:
    """Return the folder that $STRUCTFORMER_DATA names, or else shared/data beside the repository.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = Path(os.environ.get(VARIABLE) or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: let {VARIABLE} name the one with the real data")
    return folder

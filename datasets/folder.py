"""The folder that data sets lie in."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "STRUCTFORMER_DATA"


def data_folder() -> Path:
    """Return the folder of all data sets: what `$STRUCTFORMER_DATA` names, or else the user's cache.

    Where this is a checkout with a folder shared/data beside it, that folder stands for the cache.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    checkout = Path(__file__).resolve().parents[1]
    beside = checkout.parent / "shared" / "data"
    if (checkout / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    return user_cache_path("structformer", appauthor=False)

"""Shapes checked at run time, seeds, and the folder with real data."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Before anything imports structformer: every annotated shape of every call is checked in the tests.
# Left out are the parts whose methods return `Self`, which beartype cannot check method by method.
CHECKED = ["graph", "graph_convert", "graph_stats", "inspect", "models", "nn", "ops", "tokens", "training"]
install_import_hook([f"structformer.{name}" for name in CHECKED], "beartype.beartype")

import torch  # noqa: E402

DATA = "STRUCTFORMER_DATA"


@pytest.fixture
def rng() -> torch.Generator:
    """A generator of random numbers with the same seed in every test."""
    return torch.Generator().manual_seed(20_251)


@pytest.fixture(autouse=True)
def _seeded():
    # Modules draw their first weights from the global stream, which a test must find as it was left.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: $STRUCTFORMER_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    named = os.environ.get(DATA)
    folder = Path(named) if named else beside
    if not folder.is_dir():
        where = f"{DATA}={named} is no folder" if named else f"{DATA} is not set"
        pytest.skip(f"real data is needed: {where}")
    return folder

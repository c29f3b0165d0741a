"""The pages' code runs in an empty folder, and its figures are closed after it."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")

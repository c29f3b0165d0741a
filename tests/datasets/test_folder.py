from pathlib import Path

import pytest
from structformer.datasets import data_folder, folder


def test_the_named_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path / "not there yet"))
    assert data_folder() == tmp_path / "not there yet"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The package lies in a folder of its own."""
    monkeypatch.delenv("STRUCTFORMER_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "project" / "datasets" / "folder.py"))
    return tmp_path


@pytest.mark.parametrize("unset", [True, False])
def test_otherwise_the_cache_of_the_user_is(elsewhere, monkeypatch, unset):
    if not unset:
        monkeypatch.setenv("STRUCTFORMER_DATA", "")
    (elsewhere / "shared" / "data").mkdir(parents=True)
    found = data_folder()
    assert found.name == "structformer"
    assert found.is_relative_to(Path.home()) or found.is_relative_to(elsewhere / "cache")


def test_a_checkout_takes_the_folder_beside_it(elsewhere):
    (elsewhere / "project").mkdir()
    (elsewhere / "project" / "pyproject.toml").write_text("")
    assert data_folder().name == "structformer"
    (elsewhere / "shared" / "data").mkdir(parents=True)
    assert data_folder() == elsewhere / "shared" / "data"

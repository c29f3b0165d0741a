import pytest
from structformer.tasks.data_folder import data_folder


def test_the_named_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere is no folder: let STRUCTFORMER_DATA"):
        data_folder()

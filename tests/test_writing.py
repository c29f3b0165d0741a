import os

import pytest

from structformer.writing import replacing, writable


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["t.txt"]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o400


def test_writable_refuses_directories_and_other_suffixes(tmp_path):
    assert writable(str(tmp_path / "T.GEXF"), [".gexf"]) == tmp_path / "T.GEXF"
    with pytest.raises(ValueError, match=r"t ends in 'no suffix'; known are \.gexf, \.xml"):
        writable(tmp_path / "t", [".gexf", ".xml"])
    (tmp_path / "d.gexf").mkdir()
    with pytest.raises(ValueError, match=r"d\.gexf is a directory"):
        writable(tmp_path / "d.gexf", [".gexf"])

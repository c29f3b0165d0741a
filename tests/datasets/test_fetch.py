import errno
import zipfile
from dataclasses import replace
from io import BytesIO

import pytest
from structformer.datasets import download, fetch
from structformer.datasets.card import Contents, folder_checksum
from structformer.datasets.store import read

ONE, TWO = b"first\n" * 30_011, b"second\n" * 101


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def zipped(contents):
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/", b"")
        for name, content in contents.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def two(server, with_files, described):
    """A data set of two files."""
    server.files |= {"one": ONE, "two": TWO}
    files = [
        described(f"a/{name}", content, server.url(name)) for name, content in (("one", ONE), ("two", TWO))
    ]
    with_files("mnist", *files)
    return files


def test_what_is_missing_is_downloaded_once(folder, server, two):
    told = []
    assert download("mnist", lambda file, have: told.append((file.path, have))) == folder
    assert read("mnist") == {"a/one": ONE, "a/two": TWO}
    assert everything(folder) == ["a/one", "a/two"]
    assert told[-1] == ("a/two", len(TWO))
    assert ("a/one", len(ONE)) in told
    (folder / "a/one").unlink()
    download("mnist")
    download("mnist")
    assert [name for name, _ in server.asked] == ["one", "two", "one"]


def test_a_download_that_broke_off_goes_on_with_the_file_it_was_at(folder, server, two):
    server.cut = 1_009
    with pytest.raises(ConnectionError, match="1009 of"):
        download("mnist")
    server.cut = None
    download("mnist")
    assert server.asked == [("one", None), ("one", "bytes=1009-"), ("two", None)]
    assert read("mnist") == {"a/one": ONE, "a/two": TWO}


def test_what_is_there_is_checked_and_not_replaced(folder, server, two):
    (folder / "a").mkdir(parents=True)
    (folder / "a/one").write_bytes(ONE[:-1])
    with pytest.raises(ValueError, match=f"{folder / 'a/one'} is damaged.*; remove it and get it again"):
        download("mnist")
    assert (folder / "a/one").read_bytes() == ONE[:-1]
    (folder / "a/one").unlink()
    download("mnist")
    assert read("mnist")["a/one"] == ONE


def test_the_prepared_form_is_enough(folder, server, two, with_files, described):
    prepared = described("a/one.parquet", b"PAR1")
    contents = Contents(prepared.path, prepared.size, prepared.sha256)
    with_files("mnist", replace(two[0], prepared=contents))
    (folder / "a").mkdir(parents=True)
    (folder / "a/one.parquet").write_bytes(b"PAR1")
    download("mnist")
    assert server.asked == []


def test_another_file_than_it_should_be_is_refused(folder, server, two):
    server.files["two"] = b"something else"
    with pytest.raises(ValueError, match="two sent another file than it should: 14 bytes"):
        download("mnist")
    assert everything(folder) == ["a/one"]


def test_a_group_is_downloaded_together(folder, server, two, with_files, described):
    server.files["three"] = b"3"
    for name in ("cora", "citeseer", "pubmed"):
        with_files(f"planetoid/{name}", described(f"a/{name}", b"3", server.url("three")))
    download("planetoid")
    assert everything(folder) == ["a/citeseer", "a/cora", "a/pubmed"]
    with pytest.raises(ValueError, match="there is no data set 'planet'; known are"):
        download("planet")


@pytest.fixture
def archived(server, with_files, described):
    """A data set of a file in an archive and a folder in another."""
    server.files["one.zip"] = zipped({"top/one": ONE, "top/one.more": b"no", "one": b"no"})
    many = {"x.csv": b"1#2", "deep/y.csv": TWO}
    server.files["many.zip"] = zipped({f"top/many/{name}": content for name, content in many.items()})
    one = described("a/one", ONE, server.url("one.zip"), member="top/one")
    size = sum(map(len, many.values()))
    folder = replace(described("a/many/", b"", server.url("many.zip"), member="top/many/"), size=size)
    with_files("tabfact", one, replace(folder, sha256=folder_checksum(many)))
    return one


def test_files_are_taken_out_of_archives_that_do_not_stay(folder, server, archived):
    told = []
    download("tabfact", lambda file, have: told.append((file.path, file.download_size, have)))
    assert everything(folder) == ["a/many.tar.xz", "a/one"]
    assert read("tabfact") == {"a/one": ONE, "a/many/x.csv": b"1#2", "a/many/deep/y.csv": TWO}
    assert ("a/one", None, len(server.files["one.zip"])) in told
    download("tabfact")
    assert len(server.asked) == 2


def test_a_download_of_an_archive_goes_on(folder, server, archived):
    server.cut = 101
    with pytest.raises(ConnectionError, match="101 bytes are in"):
        download("tabfact")
    server.cut = None
    download("tabfact")
    assert server.asked[:2] == [("one.zip", None), ("one.zip", "bytes=101-")]
    assert read("tabfact")["a/one"] == ONE


WHOLE = zipped({"top/one": ONE})


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (WHOLE[: len(WHOLE) // 2], "one.zip sent a damaged archive: "),
        (bytes([*WHOLE[:90], WHOLE[90] ^ 1, *WHOLE[91:]]), "one.zip sent a damaged archive: "),
        (b"<html>not found</html>", "one.zip sent a damaged archive: "),
        (zipped({"top/two": ONE}), "one.zip sent an archive without top/one"),
        (zipped({"top/one": TWO}), "top/one in .*one.zip is damaged, cut short, or another version"),
    ],
)
def test_another_archive_is_refused_and_does_not_stay(folder, server, archived, archive, message):
    server.files["one.zip"] = archive
    with pytest.raises(ValueError, match=message):
        download("tabfact")
    assert everything(folder) == []


def test_a_file_is_there_whole_or_not_at_all(folder, archived, monkeypatch):
    def fails(files, place):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "pack", fails)
    with pytest.raises(OSError, match="No space left"):
        download("tabfact")
    assert everything(folder) == ["a/one"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to_is_named(folder, two, monkeypatch, number):
    def refused(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(fetch, "transfer", refused)
    with pytest.raises(PermissionError, match=f"{folder} cannot be written to: let STRUCTFORMER_DATA name"):
        download("mnist")

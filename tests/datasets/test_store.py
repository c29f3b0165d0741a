import lzma
import tarfile
from dataclasses import replace
from io import BytesIO

import pytest
from structformer.datasets import catalogue
from structformer.datasets.card import Contents, folder_checksum
from structformer.datasets.store import is_present, pack, read

FILES = {"a/one.txt": b"first\n" * 101, "a/two.txt": b"second\n" * 103}
MANY = {"x.csv": b"1#2\n", "deep/y.csv": b"3#4\n" * 11}


def folder_of(described, contents):
    size = sum(map(len, contents.values()))
    return replace(described("a/many/", b""), size=size, sha256=folder_checksum(contents))


def tar_xz(contents, start="./"):
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, content in contents.items():
            about = tarfile.TarInfo(start + name)
            about.size = len(content)
            archive.addfile(about, BytesIO(content))
    return packed.getvalue()


def test_files_are_read_plain_and_compressed(given):
    folder = given("mnist", FILES)
    assert read("mnist") == FILES
    (folder / "a/one.txt").unlink()
    (folder / "a/one.txt.xz").write_bytes(lzma.compress(FILES["a/one.txt"]))
    assert read("mnist") == FILES
    assert is_present(catalogue.card("mnist"))


@pytest.mark.parametrize("start", ["./", "", "a/"])
def test_files_are_read_from_a_packed_folder(given, start):
    folder = given("mnist", FILES)
    for path in FILES:
        (folder / path).unlink()
    assert not is_present(catalogue.card("mnist"))
    (folder / "a.tar.xz").write_bytes(tar_xz({"one.txt": FILES["a/one.txt"], "two.txt": b"other"}, start))
    with pytest.raises(
        ValueError, match=r"a\.tar\.xz: two.txt is damaged, cut short, or another version: 5 bytes"
    ):
        read("mnist")
    (folder / "a.tar.xz").write_bytes(tar_xz({"one.txt": FILES["a/one.txt"]}, start))
    with pytest.raises(ValueError, match=r"a\.tar\.xz has no two\.txt in it"):
        read("mnist")
    contents = {path.removeprefix("a/"): content for path, content in FILES.items()}
    (folder / "a.tar.xz").write_bytes(tar_xz(contents, start))
    assert read("mnist") == FILES
    assert is_present(catalogue.card("mnist"))


@pytest.mark.parametrize("form", ["plain", "packed by us", "packed by others"])
def test_a_folder_of_many_files(folder, with_files, described, form):
    with_files("tabfact", folder_of(described, MANY))
    assert not is_present(catalogue.card("tabfact"))
    folder.joinpath("a").mkdir(parents=True)
    if form == "plain":
        for name, content in MANY.items():
            (folder / "a/many" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "a/many" / name).write_bytes(content)
    elif form == "packed by us":
        pack(MANY, folder / "a/many.tar.xz")
        first = (folder / "a/many.tar.xz").read_bytes()
        pack(dict(reversed(MANY.items())), folder / "a/many.tar.xz")
        assert (folder / "a/many.tar.xz").read_bytes() == first
    else:
        (folder / "a/many.tar.xz").write_bytes(tar_xz(MANY, "many/"))
    assert read("tabfact") == {f"a/many/{name}": content for name, content in MANY.items()}


@pytest.mark.parametrize(
    "changed",
    [
        {**MANY, "z.csv": b""},
        {"x.csv": MANY["x.csv"]},
        {"x.csv": MANY["x.csv"], "deep/z.csv": MANY["deep/y.csv"]},
        {"x.csv": b"1#3\n", "deep/y.csv": MANY["deep/y.csv"]},
    ],
)
def test_a_folder_with_another_file_is_refused(folder, with_files, described, changed):
    with_files("tabfact", folder_of(described, MANY))
    folder.joinpath("a").mkdir(parents=True)
    pack(changed, folder / "a/many.tar.xz")
    with pytest.raises(ValueError, match=r"many\.tar\.xz is damaged, cut short, or another version"):
        read("tabfact")


def test_bytes_moved_between_files_change_the_checksum():
    assert folder_checksum({"a": b"12", "b": b"3"}) != folder_checksum({"a": b"1", "b": b"23"})
    assert folder_checksum({"a": b"", "b": b"3"}) != folder_checksum({"ab": b"3"})


def test_the_prepared_form_serves_as_well(folder, with_files, described):
    original, prepared = described("a/table.csv", b"1,2"), described("a/table.parquet", b"PAR1")
    contents = Contents(prepared.path, prepared.size, prepared.sha256)
    with_files("mixed_tables/bank", replace(original, prepared=contents))
    folder.joinpath("a").mkdir(parents=True)
    (folder / "a/table.parquet").write_bytes(b"PAR1")
    assert read("mixed_tables/bank") == {"a/table.parquet": b"PAR1"}
    (folder / "a/table.parquet").write_bytes(b"PAR2")
    with pytest.raises(ValueError, match=r"table\.parquet is damaged"):
        read("mixed_tables/bank")
    (folder / "a/table.parquet").unlink()
    (folder / "a/table.csv").write_bytes(b"1,2")
    assert read("mixed_tables/bank") == {"a/table.csv": b"1,2"}


def test_what_is_missing_is_named_with_the_way_to_get_it(given):
    folder = given("mnist", FILES)
    (folder / "a/two.txt").unlink()
    with pytest.raises(FileNotFoundError) as raised:
        read("mnist")
    message = str(raised.value)
    assert message.startswith(f"{folder / 'a/two.txt'} is missing: ")
    assert "structformer.datasets.download('mnist')" in message
    assert "structformer data get mnist" in message
    assert "STRUCTFORMER_DATA" in message
    (folder / "a/one.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.txt is missing \(and 1 more of mnist\): "):
        read("mnist")
    with pytest.raises(ValueError, match="there is no data set 'mnits'; known are planetoid/cora, "):
        read("mnits")


WHOLE = FILES["a/one.txt"]
COMPRESSED = lzma.compress(WHOLE)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one.txt", WHOLE[:-1]),
        ("one.txt", WHOLE + b"\n"),
        ("one.txt", b"x" + WHOLE[1:]),
        ("one.txt", b""),
        ("one.txt.xz", COMPRESSED[:-1]),
        ("one.txt.xz", COMPRESSED[: len(COMPRESSED) // 2]),
        ("one.txt.xz", bytes([*COMPRESSED[:40], COMPRESSED[40] ^ 1, *COMPRESSED[41:]])),
        ("one.txt.xz", b""),
        ("one.txt.xz", WHOLE),
        ("one.txt.xz", lzma.compress(b"something else")),
    ],
)
def test_a_damaged_file_is_named(given, name, content):
    folder = given("mnist", FILES)
    (folder / "a/one.txt").unlink()
    (folder / "a" / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{folder / 'a' / name} is damaged"):
        read("mnist")


PACKED = tar_xz({"one.txt": WHOLE, "two.txt": FILES["a/two.txt"]})


@pytest.mark.parametrize(
    "content",
    [PACKED[:-1], PACKED[:100], b"", b"no archive", lzma.compress(b"no tar"), lzma.compress(b"\1" * 5_120)],
)
def test_a_damaged_archive_is_named(given, content):
    folder = given("mnist", FILES)
    for path in FILES:
        (folder / path).unlink()
    (folder / "a.tar.xz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{folder / 'a.tar.xz'} is damaged or cut short: ."):
        read("mnist")

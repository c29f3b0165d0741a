from hashlib import sha256

import pytest
from structformer.datasets import transfer as module
from structformer.datasets.transfer import transfer

CONTENT = bytes(range(251)) * 4_001
SIZE = len(CONTENT)
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _served(server):
    server.files["file"] = CONTENT


def get(server, path, size=SIZE, digest=DIGEST, **more):
    return transfer(server.url("file"), path, size, digest, **more)


def left(path):
    return sorted(one.name for one in path.parent.iterdir()) if path.parent.exists() else []


def test_a_file_comes_whole(server, tmp_path):
    told = []
    path = get(server, tmp_path / "new" / "file.bin", tell=told.append)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["file.bin"]
    assert told == sorted(told)
    assert told[-1] == SIZE
    assert server.asked == [("file", None)]


def test_what_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    assert get(server, tmp_path / "file").read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(server, tmp_path, ranges):
    path = tmp_path / "file"
    server.cut, server.ranges = 300_007, ranges
    with pytest.raises(ConnectionError, match=rf"closed early; 300007 of {SIZE} bytes are in .*file\.part"):
        get(server, path)
    assert left(path) == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:300_007]
    server.cut = None
    told = []
    assert get(server, path, tell=told.append).read_bytes() == CONTENT
    assert left(path) == ["file"]
    assert server.asked[1:] == [("file", "bytes=300007-")]
    assert (told[0] > 300_007) is ranges


def test_it_may_break_off_many_times(server, tmp_path):
    server.cut = 300_007
    for _ in range(3):
        with pytest.raises(ConnectionError, match="closed early"):
            get(server, tmp_path / "file")
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, *(f"bytes={n * 300_007}-" for n in (1, 2, 3))]


def test_all_of_it_was_there_but_its_name(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize(
    "other", [b"x" + CONTENT[1:], CONTENT[:-1], CONTENT + b"x", b"<html>not found</html>", b""]
)
def test_another_file_is_refused_and_nothing_is_left(server, tmp_path, other):
    server.files["file"] = other
    with pytest.raises(ValueError, match=rf"{server.url('file')} sent another file .* instead of {SIZE} byt"):
        get(server, tmp_path / "file")
    assert left(tmp_path / "file") == []


def test_no_more_is_taken_than_a_file_has(server, tmp_path):
    server.files["file"] = CONTENT * 9
    told = []
    with pytest.raises(ValueError, match="sent another file"):
        get(server, tmp_path / "file", tell=told.append)
    assert told[-1] <= SIZE + module.CHUNK


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        (CONTENT + b"more", [None]),  # longer than the file
        (b"x" * 1_009, ["bytes=1009-", None]),  # the beginning of another version
        (b"x" * SIZE, [None]),  # all of another version
        (b"", [None]),
    ],
)
def test_leftovers_of_another_version_are_replaced(server, tmp_path, before, asked):
    (tmp_path / "file.part").write_bytes(before)
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == asked
    assert left(tmp_path / "file") == ["file"]


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_a_file_of_unknown_size(server, tmp_path, digest):
    path = tmp_path / "file"
    server.cut = 7
    with pytest.raises(ConnectionError, match="closed early; 7 bytes are in"):
        get(server, path, size=None, digest=digest)
    server.cut = None
    assert get(server, path, size=None, digest=digest).read_bytes() == CONTENT
    (tmp_path / "other.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "other", size=None, digest=digest).read_bytes() == CONTENT


def test_a_server_that_does_not_say_how_long_a_file_is(server, tmp_path):
    server.sized = False
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    server.cut = 11
    with pytest.raises(ConnectionError, match="closed early; 11 of"):
        get(server, tmp_path / "other")


def test_a_server_that_sends_another_range(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:13])
    server.said_range = "bytes 12-20/21"
    with pytest.raises(ConnectionError, match="it sent bytes 12-20/21 instead of bytes 13-; 13 of"):
        get(server, tmp_path / "file")


def test_a_server_that_refuses_or_is_not_there(server, tmp_path):
    with pytest.raises(
        ConnectionError, match=r"gone could not be downloaded: the server says 404 Not Found$"
    ):
        transfer(server.url("gone"), tmp_path / "file", 3, DIGEST)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/x could not be downloaded: .*refused"):
        transfer("http://127.0.0.1:9/x", tmp_path / "file", 3, DIGEST)
    assert left(tmp_path / "file") == []


def test_trouble_with_the_disk_is_not_blamed_on_the_network(server, tmp_path):
    (tmp_path / "file.part").mkdir()
    with pytest.raises(IsADirectoryError):
        get(server, tmp_path / "file", size=None)

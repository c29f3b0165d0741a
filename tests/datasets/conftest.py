"""Data sets made up for a test, and real ones where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from structformer.datasets import catalogue
from structformer.datasets.card import DataFile
from structformer.datasets.store import is_present


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def with_files(monkeypatch) -> Callable[..., None]:
    """Makes the card of a data set say that it lies in these files."""

    def change(name: str, *files: DataFile) -> None:
        known = catalogue.cards()
        changed = {**known, name: replace(known[name], files=files)}
        monkeypatch.setattr(catalogue, "cards", lambda: changed)

    return change


@pytest.fixture
def given(folder, with_files) -> Callable[[str, dict[str, bytes]], Path]:
    """Writes files to the data folder, and makes the card of a data set say that they are the right ones."""

    def write(name: str, contents: dict[str, bytes]) -> Path:
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        with_files(name, *(_described(path, content) for path, content in contents.items()))
        return folder

    return write


@pytest.fixture
def real(data_folder, monkeypatch) -> Callable[[str], None]:
    """Lets loaders read the real files of a data set, or skips the test where there are none."""

    def use(name: str) -> None:
        monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
        if not is_present(catalogue.card(name)):
            pytest.skip(f"real data is needed: {name} is not in {data_folder}")

    return use


def _described(path: str, content: bytes, url: str = "http://127.0.0.1:9/nothing", **more) -> DataFile:
    """Return what identifies a file."""
    return DataFile(path, len(content), sha256(content).hexdigest(), url, **more)


class Server(ThreadingHTTPServer):
    """Serves bytes under names, and does what servers do.

    Attributes:
        files: What is served, by name.
        ranges: Whether a part of a file can be asked for.
        cut: Bytes of an answer after which the connection breaks.
        sized: Whether an answer says how long it is.
        said_range: What an answer says of its range, in place of the truth.
        asked: The name and the range of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges, self.sized = True, True
        self.cut: int | None = None
        self.said_range: str | None = None
        self.asked: list[tuple[str, str | None]] = []

    def handle_error(self, *_: object) -> None:
        """Say nothing of who hung up."""

    def url(self, name: str) -> str:
        """Return where a name is served."""
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Answers for a :class:`Server`."""

    def do_GET(self) -> None:
        server, name, wanted = self.server, self.path.lstrip("/"), self.headers["Range"]
        server.asked.append((name, wanted))
        if name not in server.files:
            self.send_error(404)
            return
        content, start = server.files[name], 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            truth = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", server.said_range or truth)
        else:
            self.send_response(200)
        if server.sized:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Server:
    """A server on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    serving = Server()
    thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def described() -> Callable[..., DataFile]:
    """Says what identifies a file, from its path and content."""
    return _described

"""A file from the network: taken up where it broke off, and there under its name only once it is whole and right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from structformer.tokenize.files import error_line

CHUNK = 1 << 18
TIMEOUT = 60.0
_PARTIAL, _BEYOND_THE_END = 206, 416


def transfer(
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Path:
    """Download a file, unless it is there; what has come so far lies beside it as NAME.part.

    Args:
        url: Where from; http or https.
        path: Where to; folders are made.
        size: Bytes of the file, if they are known.
        sha256: Its checksum, if it is known.
        tell: Told how many bytes there are, every now and then.

    Raises:
        ConnectionError: If the server cannot be reached, refuses, or breaks off; a later call goes on from there.
        ValueError: If what came is another file; it is removed.
        OSError: If the file cannot be written.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    resumed = True
    while resumed:
        try:
            resumed = _receive(url, part, size, tell)
        except ConnectionError as error:
            kept = part.stat().st_size if part.is_file() else 0
            of = "" if size is None else f" of {size}"
            goes_on = (
                f"; {kept}{of} bytes are in {part}, and the next call goes on from there" if kept else ""
            )
            raise ConnectionError(f"{url} could not be downloaded: {error}{goes_on}") from error
        try:
            _check(part, url, size, sha256)
            break
        except ValueError:
            part.unlink()
            # The beginning may have been left over from another version: once more, from the start.
            if not resumed:
                raise
    part.replace(path)
    return path


def _receive(url: str, part: Path, size: int | None, tell: Callable[[int], None]) -> bool:
    """Download what is missing of a file, and return whether there was something of it before."""
    have = part.stat().st_size if part.is_file() else 0
    if size is not None and have > size:
        have = 0
    if have and have == size:
        return True
    response = _opened(url, have)
    with response:
        # A server that knows no ranges sends all of it.
        starts_at = f"bytes {have}-"
        resumed = have > 0 and response.status == _PARTIAL
        if resumed and not response.headers.get("Content-Range", starts_at).startswith(starts_at):
            raise ConnectionError(f"it sent {response.headers['Content-Range']} instead of {starts_at}")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        end = size if length is None else have + int(length)
        with part.open("ab" if resumed else "wb") as out:
            while chunk := _chunk(response):
                out.write(chunk)
                have += len(chunk)
                tell(have)
                if size is not None and have > size:
                    return resumed
    if end is not None and have < end:
        raise ConnectionError("it was closed early")
    return resumed


def _opened(url: str, have: int) -> HTTPResponse:
    request = Request(
        url, headers={"User-Agent": "structformer"} | ({"Range": f"bytes={have}-"} if have else {})
    )
    try:
        return urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            # What is here is longer than what is there: it was another version.
            if error.code == _BEYOND_THE_END and have:
                return _opened(url, 0)
            raise ConnectionError(f"the server says {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise ConnectionError(error_line(error)) from error


def _chunk(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise ConnectionError(error_line(error)) from error


def _check(part: Path, url: str, size: int | None, sha256: str | None) -> None:
    found = part.stat().st_size
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (size is not None and found != size) or (sha256 is not None and digest != sha256):
        wanted = " and ".join(
            [*([f"{size} bytes"] if size else []), *([f"SHA-256 {sha256}"] if sha256 else [])]
        )
        raise ValueError(
            f"{url} sent another file than it should: {found} bytes with SHA-256 {digest} instead of {wanted}"
        )

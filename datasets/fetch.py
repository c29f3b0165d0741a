"""Data sets from their homes into the data folder. This and nothing else uses the network."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from structformer.tokenize.files import error_line, replacing

from .card import DataFile
from .catalogue import chosen
from .conversions import CONVERSIONS
from .folder import VARIABLE, data_folder
from .store import PACKED, check, located, pack, read
from .transfer import transfer

Progress = Callable[[DataFile, int], None]


def download(name: str, progress: Progress | None = None) -> Path:
    """Download what is missing of a data set, check all of it, and return the data folder.

    What is there is used as it is. A download that broke off goes on where it ended.

    Args:
        name: Of a data set, as in :func:`structformer.datasets.cards`, or of a group of them such as "planetoid".
        progress: Told of each file, every now and then, how many bytes of its download have come.

    Raises:
        ConnectionError: If a file cannot be had now; what has come of it is kept for the next call.
        ValueError: If there is no such data set, or if what came, or what lies there, is not the file.
        OSError: If the data folder cannot be written to.
    """
    folder = data_folder()
    for card in chosen(name):
        for file in card.files:
            if located(file) is None:
                try:
                    _get(file, folder, progress or (lambda *_: None))
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                        raise
                    raise PermissionError(
                        f"{folder} cannot be written to: let {VARIABLE} name a folder that can"
                    ) from error
        read(card.name)
    return folder


def _get(file: DataFile, folder: Path, progress: Progress) -> None:
    def tell(have: int) -> None:
        progress(file, have)

    path = folder / file.path
    if file.member is None:
        transfer(file.url, path, file.size, file.sha256, tell)
        return
    archive = path.with_name(f"{path.name}.zip")
    transfer(file.url, archive, file.archive_size, file.archive_sha256, tell)
    try:
        files = _taken_out(archive, file)
        check(file, files, f"{file.member} in {file.url}")
    finally:
        archive.unlink()
    place = path.with_name(path.name + PACKED) if file.is_folder else path
    with replacing(place) as temporary:
        if file.is_folder:
            pack(files, temporary)
        else:
            temporary.write_bytes(files[""])


def _taken_out(archive: Path, file: DataFile) -> dict[str, bytes]:
    """Return a member of an archive under the name "", or the files of a folder in it under their own."""
    member = file.member or ""
    convert = CONVERSIONS[file.conversion] if file.conversion else bytes
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name == member]
            if file.is_folder:
                names = [
                    name for name in opened.namelist() if name.startswith(member) and not name.endswith("/")
                ]
            files = {name.removeprefix(member): convert(opened.read(name)) for name in names}
    # The last two are what a header that is not one makes of it: a compression or an encryption nobody knows.
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{file.url} sent a damaged archive: {error_line(error)}") from error
    if not files:
        raise ValueError(f"{file.url} sent an archive without {member}")
    return files

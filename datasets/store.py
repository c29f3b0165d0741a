"""Files of data sets as they lie in the data folder: plain, compressed, or packed; never read unchecked.

A file NAME may lie there as NAME.xz, and all files of a folder DIR in DIR.tar.xz.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from structformer.tokenize.files import error_line

from .card import Contents, DataCard, DataFile, folder_checksum
from .catalogue import card
from .folder import VARIABLE, data_folder

PACKED, COMPRESSED = ".tar.xz", ".xz"


def read(name: str) -> dict[str, bytes]:
    """Return what is in the files of a data set, each checked against its checksum; nothing is downloaded.

    Returns:
        The bytes of each file by its path. Those of a folder are named by its path and their own, and a file in its
        prepared form by the path of that form.

    Raises:
        FileNotFoundError: If a file is missing; the message says how to get it.
        ValueError: If there is no such data set, or a file is damaged or another than it should be.
    """
    about = card(name)
    found: dict[str, bytes] = {}
    packed: dict[Path, dict[str, bytes]] = {}
    for file in about.files:
        form, place = located(file) or _missing(about, file)
        where = str(place)
        if place.is_dir():
            files = dict(_walked(place))
        elif place.name.endswith(PACKED):
            if place not in packed:
                packed[place] = _unpacked(place)
            files = packed[place]
            if not form.is_folder:
                files = {"": _member(place, files, Path(form.path).name)}
                where = f"{place}: {Path(form.path).name}"
        else:
            files = {"": _content(place)}
        check(form, files, where)
        found |= {form.path + inner: content for inner, content in files.items()}
    return found


def located(file: DataFile) -> tuple[Contents, Path] | None:
    """Return the form in which a file is in the data folder, and where; None if it is not."""
    for form in (file, file.prepared):
        if form is None:
            continue
        plain = data_folder() / form.path
        if plain.is_dir() if form.is_folder else plain.is_file():
            return form, plain
        compressed = [_with_suffix(plain, PACKED)]
        if not form.is_folder:
            compressed = [_with_suffix(plain, COMPRESSED), _with_suffix(plain.parent, PACKED)]
        for place in compressed:
            if place.is_file():
                return form, place
    return None


def is_present(about: DataCard) -> bool:
    """Return whether all files of a data set are in the data folder; they are not checked."""
    return all(located(file) for file in about.files)


def check(form: Contents, files: dict[str, bytes], where: str) -> None:
    """Compare size and checksum: of a file, which stands under the name "", or of a folder.

    Raises:
        ValueError: If one differs.
    """
    size = sum(map(len, files.values()))
    digest = folder_checksum(files) if form.is_folder else sha256(files[""]).hexdigest()
    if (size, digest) != (form.size, form.sha256):
        raise ValueError(
            f"{where} is damaged, cut short, or another version: {size} bytes with SHA-256 {digest} instead of "
            f"{form.size} with {form.sha256}; remove it and get it again"
        )


def pack(files: dict[str, bytes], place: Path) -> None:
    """Write the files of a folder to an archive; the same files make the same archive."""
    with tarfile.open(place, "w:xz", preset=0) as archive:
        for name in sorted(files):
            about = tarfile.TarInfo(name)
            about.size = len(files[name])
            archive.addfile(about, BytesIO(files[name]))


def _missing(about: DataCard, file: DataFile) -> tuple[Contents, Path]:
    others = sum(located(one) is None for one in about.files) - 1
    more = f" (and {others} more of {about.name})" if others else ""
    raise FileNotFoundError(
        f"{data_folder() / file.path} is missing{more}: call structformer.datasets.download({about.name!r}), or "
        f"`structformer data get {about.name}` in the shell; or let {VARIABLE} name a folder that has it"
    )


def _content(place: Path) -> bytes:
    content = place.read_bytes()
    if place.suffix != COMPRESSED:
        return content
    try:
        return lzma.decompress(content)
    except lzma.LZMAError as error:
        raise ValueError(f"{place} is damaged or cut short: {error_line(error)}") from error


def _walked(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _unpacked(place: Path) -> dict[str, bytes]:
    """Return the files in an archive by their names in the folder that was packed."""
    try:
        # Unpacked as a whole, so that the checksum at its end is reached.
        with tarfile.open(fileobj=BytesIO(_content(place))) as archive:
            files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            contents = {name.removeprefix("./"): file.read() for name, file in files.items() if file}
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{place} is damaged or cut short: {error_line(error)}") from error
    # Some pack what is in a folder, others the folder.
    top = place.name.removesuffix(PACKED) + "/"
    within = all(name.startswith(top) for name in contents)
    return {name.removeprefix(top): content for name, content in contents.items()} if within else contents


def _member(place: Path, files: dict[str, bytes], name: str) -> bytes:
    if name not in files:
        raise ValueError(
            f"{place} has no {name} in it: it is damaged or another version; remove it and get it again"
        )
    return files[name]


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)

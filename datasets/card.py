"""What a data set is, where it comes from, under what terms, and what to beware of."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal


@dataclass(frozen=True)
class Contents:
    """What identifies a file.

    Attributes:
        path: Its place in the data folder. Where it ends in a slash it is a folder of many small files.
        size: Bytes, uncompressed; of a folder those of all files.
        sha256: Of the bytes, uncompressed; of a folder as :func:`folder_checksum` says.
    """

    path: str
    size: int
    sha256: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.endswith("/")


@dataclass(frozen=True)
class DataFile(Contents):
    """A file or folder of a data set, and how it is had.

    Attributes:
        url: What to download.
        member: Its name in the zip archive at `url`; None where `url` is the file itself.
        archive_size: Bytes of that archive; None where they are not known: then what is taken out of it is what is
            checked.
        archive_sha256: Checksum of that archive, or None.
        conversion: What is done to what was downloaded; None for nothing.
        prepared: The same in another form, which serves as well if it is in the data folder.
    """

    url: str
    member: str | None = None
    archive_size: int | None = None
    archive_sha256: str | None = None
    conversion: Literal["csv text"] | None = None
    prepared: Contents | None = None

    @property
    def download_size(self) -> int | None:
        """Bytes to download; None where they are not known."""
        return self.size if self.member is None else self.archive_size


@dataclass(frozen=True)
class DataCard:
    """A data set's card.

    Attributes:
        name: As :func:`structformer.datasets.download` takes it.
        what: What it holds, with numbers.
        load: The call that reads it.
        home: Where it is published, and the copy that is downloaded if it is another.
        licence: Its terms, as far as they are stated.
        citation: What to cite.
        traps: What others have stumbled over.
        files: What it lies in.
    """

    name: str
    what: str
    load: str
    home: str
    licence: str
    citation: str
    traps: tuple[str, ...]
    files: tuple[DataFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, uncompressed."""
        return sum(file.size for file in self.files)

    def __str__(self) -> str:
        lines = [f"{self.name}, {self.size / 1e3:,.0f} kB"]
        for title in ("what", "load", "home", "licence", "citation"):
            lines.append(f"  {title:<10}{getattr(self, title)}")
        lines += [f"  {'beware':<10}{trap}" for trap in self.traps]
        return "\n".join(lines)


def folder_checksum(files: dict[str, bytes]) -> str:
    """Return the SHA-256 of a folder: of each file in the order of names, its name, its size and its bytes."""
    found = sha256()
    for name in sorted(files):
        found.update(f"{name}\0{len(files[name])}\0".encode())
        found.update(files[name])
    return found.hexdigest()

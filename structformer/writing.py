"""Files that are there as a whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def writable(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Return ``path`` if a file of that name can be written, before any work is spent on its content.

    Raises:
        ValueError: The suffix is not one of ``suffixes``, or ``path`` is a directory.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path} ends in {path.suffix or 'no suffix'!r}; known are {', '.join(suffixes)}")
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a file to write")
    return path


@contextmanager
def replacing(path: str | Path) -> Generator[Path]:
    """Give a temporary file beside ``path`` to write to; rename it to ``path`` when all went well.

    The directory is made if it is missing. If the block raises, what was written is removed and a file
    that was there before is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner may read; what is written is for whom umask allows.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()

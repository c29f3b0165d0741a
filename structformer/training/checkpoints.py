"""Checkpoints: a folder with weights in safetensors and everything else in JSON; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

FORMAT = 1
DESCRIPTION = "structformer.json"
WEIGHTS = "weights-*.safetensors"


def save_checkpoint(
    folder: str | os.PathLike[str], state: dict[str, Any], tensors: dict[str, Tensor]
) -> Path:
    """Write ``state`` (JSON) and ``tensors`` (safetensors) to ``folder``, whole or not at all.

    The weights' file is named after its content, and the description names it. It is the renaming of the
    finished description that turns the folder from the old checkpoint into the new one; whatever stops
    the saving before that leaves the old one as it was. Other files in the folder are left alone.

    Raises:
        FileExistsError: ``folder`` is there and is not a checkpoint, so nothing is written to it.
        ValueError: ``state`` holds a number that is not finite.
        TypeError: ``state`` holds something that JSON cannot.
    """
    folder = Path(folder)
    if not may_be_written(folder):
        raise FileExistsError(f"{folder} exists and is not a structformer model: choose another name")
    weights = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    digest = hashlib.sha256(weights).hexdigest()
    description = {"format": FORMAT, "weights": digest, "state": state}
    text = json.dumps(description, indent=1, allow_nan=False, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    current = _weights_file(folder, digest)
    _write(current, weights)
    _write(folder / DESCRIPTION, text.encode())
    for other in (*folder.glob(WEIGHTS), *folder.glob(f"{WEIGHTS}.*.part")):
        if other != current:
            other.unlink(missing_ok=True)
    return folder


def load_checkpoint(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`save_checkpoint` wrote: ``(state, tensors)``.

    Raises:
        FileNotFoundError: There is no checkpoint at ``folder``, or a file of it is missing.
        ValueError: A file is damaged or of another format; names it.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION
    try:
        found = json.loads(_read(folder, file))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{file} has format {got!r}; this version reads format {FORMAT}")
    if not isinstance(found.get("weights"), str) or not isinstance(found.get("state"), dict):
        raise ValueError(f"{file} is damaged: it must name the weights and hold the state")
    file = _weights_file(folder, found["weights"])
    weights = _read(folder, file)
    if hashlib.sha256(weights).hexdigest() != found["weights"]:
        raise ValueError(f"{file} is damaged: its content is not what was saved")
    return found["state"], load(weights)


def may_be_written(folder: Path) -> bool:
    """Return whether a folder may be written to: absent, a checkpoint, or left by an interrupted first save."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    if (folder / DESCRIPTION).is_file():
        return True
    return all(file.match(WEIGHTS) or file.match(f"{WEIGHTS}.*.part") for file in folder.iterdir())


def _weights_file(folder: Path, digest: str) -> Path:
    return folder / WEIGHTS.replace("*", digest[:16])


def _read(folder: Path, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{folder} is not a structformer model: {file.name} is missing") from None


def _write(file: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: the file is there whole or not at all."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)

"""Checkpoints: a folder with weights in safetensors and everything else in JSON; no pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT = 1


def save_checkpoint(folder: str | os.PathLike[str], state: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write ``state`` (JSON) and ``tensors`` (safetensors) to ``folder``, whole or not at all.

    Everything is written to a new folder beside it, which then takes its name; an older checkpoint of that
    name stays until the new one is complete.

    Raises:
        FileExistsError: ``folder`` is there and is not a checkpoint, so it is not replaced.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "structformer.json").is_file() and (
        not folder.is_dir() or any(folder.iterdir())
    ):
        raise FileExistsError(f"{folder} exists and is not a structformer model: choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file({k: v.detach().contiguous().cpu().clone() for k, v in tensors.items()}, fresh / "weights.safetensors")
        text = json.dumps({"format": FORMAT, **state}, indent=1, allow_nan=False, ensure_ascii=False)
        (fresh / "structformer.json").write_text(text, encoding="utf-8")
        fresh.chmod(0o755)
        if folder.exists():
            old = fresh.with_name(fresh.name + ".old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def load_checkpoint(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        FileNotFoundError: There is no checkpoint at ``folder``.
        ValueError: A file is damaged or of a newer format; names it.
    """
    folder = Path(folder)
    description, weights = folder / "structformer.json", folder / "weights.safetensors"
    for file in (description, weights):
        if not file.is_file():
            raise FileNotFoundError(f"{folder} is not a structformer model: {file.name} is missing")
    try:
        state = json.loads(description.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{description} is damaged: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{description} has format {found!r}; this version reads format {FORMAT}")
    try:
        return state, load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged: {error}") from error

"""Files of text to tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """What turns text into tokens, such as `TextTokenizer`."""

    def encode(self, text: bytes, /) -> Int[Tensor, "tokens"]:
        """Return the tokens of a text."""
        ...


def read_text(path: str | Path) -> bytes:
    """Return the content of a file of text in UTF-8.

    Raises:
        ValueError: The file is empty, or something else than text.
        OSError: There is no such file, or it cannot be opened.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a text")
    text = path.read_bytes()
    if not text:
        raise ValueError(f"{path} is empty")
    if b"\0" in text:
        raise ValueError(f"{path} is not a text: byte {text.index(0)} is 0")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error.reason} at byte {error.start}") from error
    return text


def document(text: bytes, tokenizer: TextEncoder) -> Int[Tensor, "tokens"]:
    """Return the tokens of a text behind a line feed, from which its first token is foretold."""
    return torch.cat([tokenizer.encode(b"\n"), tokenizer.encode(text)])

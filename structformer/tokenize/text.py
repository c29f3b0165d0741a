"""Text as bytes: one token a byte, no training and no unknown symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from structformer.tokens import TokenSet


class TextTokenizer:
    """UTF-8 bytes as token ids 0 to 255.

    Any text can be written, and `decode(encode(text)) == text`. Nothing is learned: `fit` is there so that
    all tokenizers are used alike.

    >>> ids = TextTokenizer().encode("né")
    >>> ids.tolist()
    [110, 195, 169]
    >>> TextTokenizer().decode(ids)
    'né'
    """

    vocab_size: int = 256

    def fit(self, texts: Iterable[str | bytes]) -> TextTokenizer:
        """Returns self; bytes need no training."""
        del texts
        return self

    def encode(self, text: str | bytes) -> Int[Tensor, "tokens"]:
        """The bytes of a text, as int64; bytes are taken as they are.

        Raises:
            TypeError: if `text` is neither str nor bytes.
        """
        if isinstance(text, str):
            # A lone surrogate (from os.fsdecode, broken JSON) has no UTF-8 form; it must not stop a corpus.
            text = text.encode("utf-8", errors="surrogatepass")
        elif not isinstance(text, bytes):
            raise TypeError(f"text must be str or bytes (got {type(text).__name__})")
        return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))

    def to_bytes(self, ids: Int[Tensor, "tokens"]) -> bytes:
        """The bytes of some ids.

        Raises:
            ValueError: if an id is outside 0 to 255.
        """
        wrong = (ids < 0) | (ids > 255)
        if wrong.any():
            raise ValueError(f"ids must lie in 0 to 255 (got {int(ids[wrong][0])})")
        return bytes(ids.cpu().to(torch.uint8).tolist())

    def decode(self, ids: Int[Tensor, "tokens"]) -> str:
        """The text of some ids; a byte sequence that is no UTF-8 shows as the replacement character.

        Raises:
            ValueError: if an id is outside 0 to 255.
        """
        raw = self.to_bytes(ids)
        try:
            return raw.decode("utf-8", errors="surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", errors="replace")

    def transform(self, texts: Iterable[str | bytes]) -> TokenSet:
        """Packs texts, one set each, tokens in reading order.

        Returns:
            A TokenSet with `code [T]` the byte ids and `x [T, 0]`: a byte is all identity and no value.

        Raises:
            ValueError: if there are no texts, or one is empty.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("texts must be a list of texts (got one text; use encode for that)")
        codes = [self.encode(text) for text in texts]
        if not codes:
            raise ValueError("texts is empty: at least 1 text is needed")
        sizes = [len(code) for code in codes]
        if 0 in sizes:
            raise ValueError(f"text {sizes.index(0)} is empty")
        ptr = torch.tensor([0, *sizes]).cumsum(0)
        return TokenSet(x=torch.zeros(int(ptr[-1]), 0), ptr=ptr, code=torch.cat(codes))

    def fit_transform(self, texts: Iterable[str | bytes]) -> TokenSet:
        """The same as `transform`."""
        return self.transform(texts)

    def to_dict(self) -> dict[str, Any]:
        """The state, JSON-ready."""
        return {"kind": "bytes"}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TextTokenizer:
        """The inverse of `to_dict`."""
        if state.get("kind") != "bytes":
            raise ValueError(f"kind must be 'bytes' (got {state.get('kind')!r})")
        return cls()

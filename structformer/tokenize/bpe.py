"""Text as byte pairs: tokens that a corpus taught, through the library tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor


class BytePairTokenizer:
    """Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909; on bytes as in GPT-2).

    Any text in UTF-8 can be written, and ``decode(encode(text)) == text``. No token reaches over the end of a line.

    Args:
        vocab_size: Most tokens to learn, the 256 bytes among them; after `fit` the attribute of that name says
            how many there were to learn.

    Raises:
        ImportError: tokenizers is not installed.
        ValueError: ``vocab_size`` is less than 256.
    """

    def __init__(self, vocab_size: int) -> None:
        if vocab_size < 256:
            raise ValueError(f"vocab_size must be at least 256 (got {vocab_size})")
        self.vocab_size = vocab_size
        self._library = _library()
        self._tokenizer: Any = None

    def fit(self, texts: Iterable[str | bytes]) -> BytePairTokenizer:
        """Learn the tokens of texts; the same texts teach the same tokens. Returns self."""
        library = self._library
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((line for text in texts for line in _lines(text)), trainer)
        return self._with(tokenizer)

    def encode(self, text: str | bytes) -> Int[Tensor, "tokens"]:
        """The tokens of a text.

        Raises:
            ValueError: Before `fit`, or if bytes are not UTF-8.
        """
        found = self._fitted().encode_batch(_lines(text))
        return torch.tensor([token for line in found for token in line.ids], dtype=torch.long)

    def to_bytes(self, ids: Int[Tensor, "tokens"]) -> bytes:
        """The bytes of some tokens.

        Raises:
            ValueError: Before `fit`, or if a token is not in the vocabulary.
        """
        self._fitted()
        wrong = (ids < 0) | (ids >= self.vocab_size)
        if wrong.any():
            raise ValueError(f"ids must lie in 0 to {self.vocab_size - 1} (got {int(ids[wrong][0])})")
        return b"".join(self._bytes[token] for token in ids.tolist())

    def decode(self, ids: Int[Tensor, "tokens"]) -> str:
        """The text of some tokens; a part of a character shows as the replacement character."""
        return self.to_bytes(ids).decode("utf-8", errors="replace")

    def to_dict(self) -> dict[str, Any]:
        """The state, JSON-ready."""
        return {"kind": "byte pairs", "tokenizer": json.loads(self._fitted().to_str())}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> BytePairTokenizer:
        """The inverse of `to_dict`."""
        if state.get("kind") != "byte pairs":
            raise ValueError(f"kind must be 'byte pairs' (got {state.get('kind')!r})")
        return cls(256)._with(_library().Tokenizer.from_str(json.dumps(state["tokenizer"])))

    def _with(self, tokenizer: Any) -> BytePairTokenizer:
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()
        byte = _byte_of_symbol()
        names = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        self._bytes = [bytes(byte[symbol] for symbol in name) for name, _ in names]
        return self

    def _fitted(self) -> Any:
        if self._tokenizer is None:
            raise ValueError("the tokenizer has learned no tokens yet: call fit before")
        return self._tokenizer


def _library() -> Any:
    try:
        return import_module("tokenizers")
    except ImportError as error:
        raise ImportError("byte pairs need tokenizers: pip install 'structformer[text]'") from error


def _byte_of_symbol() -> dict[str, int]:
    """Return the byte behind each symbol in which the library spells tokens.

    Bytes that Latin-1 prints stand for themselves, the others, in their order, for the characters from 256 on.
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printed))
    return {chr(byte): byte for byte in printed} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _lines(text: str | bytes) -> list[str]:
    """Split a text behind the ends of its lines."""
    raw = text.encode() if isinstance(text, str) else text
    return [line.decode() for line in raw.splitlines(keepends=True)]

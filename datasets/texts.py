"""Plain texts: WikiText-2 and tiny-shakespeare."""

from __future__ import annotations

from dataclasses import dataclass

from .store import read


@dataclass(frozen=True)
class TextSplits:
    """The three parts of a corpus: to train on, to choose by, to test on."""

    train: bytes
    valid: bytes
    test: bytes


def wikitext2() -> TextSplits:
    """Return WikiText-2 with its own three parts (Merity et al. 2017, arXiv 1609.07843).

    Raises:
        FileNotFoundError: If it was not downloaded.
        ValueError: If a file is damaged.
    """
    files = read("wikitext2")
    return TextSplits(*(files[f"wikitext2/{part}.txt"] for part in ("train", "valid", "test")))


def shakespeare() -> TextSplits:
    """Return tiny-shakespeare: by position the first 90% for training, then 5% each for choosing and testing.

    Raises:
        FileNotFoundError: If it was not downloaded.
        ValueError: If the file is damaged.
    """
    (text,) = read("shakespeare").values()
    return split_by_position(text)


def split_by_position(text: bytes) -> TextSplits:
    """Cut a text at 90% and 95% of its bytes, rounded down."""
    first, second = len(text) * 90 // 100, len(text) * 95 // 100
    return TextSplits(text[:first], text[first:second], text[second:])

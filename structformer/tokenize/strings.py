"""Vectors for free text: hashed words and character n-grams, or a sentence model kept on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize


class HashedNgrams:
    """Text vectors without a fitted vocabulary: signed counts of hashed words and character trigrams.

    The first half of a vector counts words, the other half the three-character pieces of words (with their
    edges), which also tie together spellings and identifiers that share a part. A vector depends on its own
    string alone and has length 1, or 0 for a string without any word. Source: Weinberger et al. 2009
    (arXiv 0902.2206); the hash is scikit-learn's.

    Args:
        width: Length of the vectors, an even number from 2.

    Raises:
        ValueError: `width` is odd or below 2.
    """

    def __init__(self, width: int = 256) -> None:
        if width < 2 or width % 2:
            raise ValueError(f"width must be even and at least 2 (got {width})")
        self.width = width

    def __call__(self, strings: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """One vector a string."""
        if not len(strings):
            return np.zeros((0, self.width), dtype=np.float32)
        half = self.width // 2
        words = HashingVectorizer(n_features=half, token_pattern=r"(?u)\b\w+\b")
        pieces = HashingVectorizer(n_features=half, analyzer="char_wb", ngram_range=(3, 3))
        counted: list[Any] = [words.transform(strings), pieces.transform(strings)]
        joined: Any = normalize(sparse.hstack(counted, format="csr"))
        return joined.astype(np.float32).toarray()


class SentenceModel:
    """Text vectors from a sentence-transformers model in a folder; nothing is fetched from the network.

    Args:
        path: Folder that holds the model.

    Raises:
        ValueError: `path` is no folder.
        ImportError: sentence-transformers is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_dir():
            raise ValueError(
                f"text_model must be a folder on this machine that holds a sentence model (got {str(path)!r})"
            )
        try:
            library = import_module("sentence_transformers")
        except ImportError as error:
            raise ImportError(
                "text_model needs sentence-transformers: pip install 'structformer[text]'"
            ) from error
        self._model: Any = library.SentenceTransformer(str(path), local_files_only=True)
        self.width = len(self(["width"])[0])

    def __call__(self, strings: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """One vector of length 1 a string."""
        if not len(strings):
            return np.zeros((0, self.width), dtype=np.float32)
        vectors = self._model.encode(
            list(strings), convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

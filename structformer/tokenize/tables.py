"""Tables to tokens: one token a cell, known by the name of its column and by its value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float

from structformer.tokenize.columns import Column, Infinite, Kind
from structformer.tokenize.strings import HashedNgrams, SentenceModel
from structformer.tokenize.table_cells import encode_rows, name_cells, row_feature_names
from structformer.tokenize.table_encode import Cells, encode_cells, fit_columns
from structformer.tokenize.table_frame import as_frame, match_columns
from structformer.tokens import TokenSet

View = Literal["cells", "rows", "both"]
_FORMAT = 1


class TableTokenizer:
    """Read tables as token sets, the same way for new tables as for the one it was fitted on.

    Columns are matched by name and ordered by name, so that the order of columns and of rows changes nothing.
    Kinds are found from the training data:

    - numbers: **numeric**, standardised robustly and squashed into ±8 (see `describe_numbers`, `squash`);
    - dates (also ISO 8601 strings): several numeric columns, days since 1970, month, weekday and hour,
      of which those that never change are left out; durations: seconds;
    - truth values and pandas' category dtype: **categorical**;
    - other strings, and cells of mixed type as strings: categorical, or **text** when there are many distinct
      ones (see `infer_kind`); numbers spelled as strings stay strings.

    NaN, None, pandas.NA and NaT are missing. Columns with one value only, or none, are left out, unless no
    column were left.

    With `view="cells"` a table row is a set and its cells are the tokens, in the order of `columns_`
    (token t is row t // num_columns, column t % num_columns):

    - `x` [tokens, 1]: the standardised number, 0 for other kinds and where missing;
    - `code` [tokens]: 0 missing; numeric: 1 present; categorical: 1 unseen in training, 2 + i category i;
      text: row of `text`;
    - `token_type` [tokens]: number of the column;
    - `text` [texts, width]: vectors of length 1 of the distinct texts, row 0 zeros (with text columns only),
      and `text_strings`, the texts themselves;
    - `set_names`: the table's row labels.

    With `view="rows"` the table is one set and its rows are the tokens, `x` [rows, features] (see `rows`).
    With `view="both"` the cells carry that second view as `rows`; it holds all rows, whatever `select` picks.

    Args:
        view: "cells", "rows" or "both".
        infinite: "error", or "clip" to read ±infinity as the largest or smallest finite training value.
        kinds: Kinds of columns to use instead of those found, {"zip": "categorical"}.
        text_width: Length of the hashed text vectors.
        text_model: Folder with a sentence-transformers model to embed text with, instead of hashing.

    Attributes:
        columns_: The token columns, ordered by name.
        dropped_: Columns left out, with the reason.
        feature_names_: Names of all the training table's columns, in its order.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [39, 50, None], "job": ["clerk", "nurse", "clerk"]})
        >>> tokenizer = TableTokenizer().fit(frame)
        >>> tokens = tokenizer.transform(pd.DataFrame({"job": ["pilot"], "age": [50]}))
        >>> tokenizer.cell_names(tokens)
        ['age=50', 'job=(unseen)']
    """

    columns_: tuple[Column, ...]
    dropped_: dict[str, str]
    feature_names_: tuple[str, ...]

    def __init__(
        self,
        *,
        view: View = "cells",
        infinite: Infinite = "error",
        kinds: Mapping[str, Kind] | None = None,
        text_width: int = 256,
        text_model: str | Path | None = None,
    ) -> None:
        if view not in get_args(View):
            raise ValueError(f"view must be one of {list(get_args(View))} (got {view!r})")
        if infinite not in get_args(Infinite):
            raise ValueError(f"infinite must be one of {list(get_args(Infinite))} (got {infinite!r})")
        self.view: View = view
        self.infinite: Infinite = infinite
        self.kinds: dict[str, Kind] = dict(kinds or {})
        self.text_model = None if text_model is None else str(text_model)
        self._embed = HashedNgrams(text_width) if text_model is None else None
        self.text_width = text_width
        self._named = True

    @property
    def num_columns(self) -> int:
        """Number of token columns."""
        return len(self._fitted())

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the token columns."""
        return tuple(column.name for column in self._fitted())

    @property
    def row_feature_names(self) -> list[str]:
        """Names of the features of the rows view."""
        return row_feature_names(self._fitted(), self._text_embedder().width if self._has_text() else 0)

    def fit(self, table: Any) -> TableTokenizer:
        """Learn columns, kinds, categories and scales from a training table.

        Args:
            table: DataFrame, two-dimensional array, or list of rows.

        Raises:
            ValueError: The table is empty, sparse or not two-dimensional, a column name is repeated, `kinds`
                names no column, or a cell is infinite or nested. The error names the culprit.
        """
        frame, named = as_frame(table)
        if not len(frame):
            raise ValueError(f"table must have at least one row (got shape {frame.shape})")
        if unknown := sorted(set(self.kinds) - set(frame.columns)):
            raise ValueError(f"kinds must name columns of the table (not among them: {unknown})")
        self.columns_, self.dropped_ = fit_columns(frame, self.kinds, self.infinite)
        self.feature_names_, self._named = tuple(frame.columns), named
        return self

    def transform(self, table: Any) -> TokenSet:
        """Turn a table into tokens.

        Args:
            table: Table with at least the columns that were kept in training. Arrays are matched by position,
                everything with names by name. Zero rows give a token set without sets.

        Raises:
            ValueError: Columns are missing, or a cell cannot be read as its column needs.
            RuntimeError: The tokenizer is not fitted.

        Warns:
            UserWarning: The table has columns that training did not know; they are ignored.
        """
        cells, text, labels = self._read(table)
        if self.view == "rows":
            return self._row_tokens(cells, text, labels)
        rows, width = cells.codes.shape
        extra: dict[str, Any] = {}
        if self._has_text():
            extra = {"text": torch.from_numpy(text), "text_strings": cells.strings}
        tokens = TokenSet(
            torch.from_numpy(cells.values.reshape(-1, 1)),
            torch.arange(rows + 1) * width,
            code=torch.from_numpy(cells.codes.reshape(-1)),
            token_type=torch.arange(width).repeat(rows),
            set_names=labels,
            **extra,
        )
        if self.view == "both":
            tokens.rows = self._row_tokens(cells, text, labels)
        return tokens

    def fit_transform(self, table: Any) -> TokenSet:
        """Fit on a table and turn it into tokens."""
        return self.fit(table).transform(table)

    def rows(self, table: Any) -> Float[np.ndarray, "rows features"]:
        """One numeric vector a row: standardised numbers, one-hot categories, text vectors (float32).

        Columns that had missing cells in training also give an indicator of them; `row_feature_names` names
        the features. Errors and warnings are those of `transform`.
        """
        cells, text, _ = self._read(table)
        return encode_rows(self.columns_, cells.values, cells.codes, text)

    def cell_names(self, tokens: TokenSet) -> list[str]:
        """Names "column=value" of cell tokens, also after `select` and `permute`.

        Values are read back from the standardised ones: far outliers are approximate. Missing cells read
        "column=(missing)", unseen categories "column=(unseen)".

        Args:
            tokens: Cells that this tokenizer made.

        Raises:
            ValueError: The tokens are no cells, or lack the text of text cells.
        """
        if tokens.x is None or tokens.code is None or tokens.token_type is None:
            raise ValueError("tokens must be cells of a table, with x, code and token_type")
        return name_cells(
            self._fitted(),
            tokens.x[:, 0].numpy(force=True),
            tokens.code.numpy(force=True),
            tokens.token_type.numpy(force=True),
            getattr(tokens, "text_strings", None) or [""],
        )

    def to_dict(self) -> dict[str, Any]:
        """The fitted tokenizer as JSON values; `from_dict` restores it exactly."""
        return {
            "format": _FORMAT,
            "view": self.view,
            "infinite": self.infinite,
            "kinds": self.kinds,
            "text_width": self.text_width,
            "text_model": self.text_model,
            "named": self._named,
            "feature_names": list(self.feature_names_),
            "dropped": self.dropped_,
            "columns": [column.to_dict() for column in self._fitted()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableTokenizer:
        """Restore a tokenizer from what `to_dict` gave.

        Raises:
            ValueError: The values were written in another format.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"format must be {_FORMAT} (got {values.get('format')!r})")
        options = ("view", "infinite", "kinds", "text_width", "text_model")
        tokenizer = cls(**{name: values[name] for name in options})
        tokenizer.columns_ = tuple(Column.from_dict(column) for column in values["columns"])
        tokenizer.dropped_ = dict(values["dropped"])
        tokenizer.feature_names_ = tuple(values["feature_names"])
        tokenizer._named = values["named"]
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the text embedder, which is made or loaded again at need."""
        return {**vars(self), "_embed": None}

    def _fitted(self) -> tuple[Column, ...]:
        if not hasattr(self, "columns_"):
            raise RuntimeError("the tokenizer must be fitted first: call fit(table)")
        return self.columns_

    def _read(self, table: Any) -> tuple[Cells, Float[np.ndarray, "texts width"], list[str]]:
        needed = {column.source for column in self._fitted()}
        frame = match_columns(table, needed, self.feature_names_, self._named)
        cells = encode_cells(self.columns_, frame, self.infinite)
        if self._has_text():
            vectors = self._text_embedder()(cells.strings[1:])
            text = np.vstack([np.zeros((1, vectors.shape[1]), dtype=np.float32), vectors])
        else:
            text = np.zeros((1, 0), dtype=np.float32)
        return cells, text, [str(label) for label in frame.index]

    def _has_text(self) -> bool:
        return any(column.kind == "text" for column in self.columns_)

    def _text_embedder(self) -> HashedNgrams | SentenceModel:
        if self._embed is None:
            self._embed = (
                HashedNgrams(self.text_width) if self.text_model is None else SentenceModel(self.text_model)
            )
        return self._embed

    def _row_tokens(
        self, cells: Cells, text: Float[np.ndarray, "texts width"], labels: list[str]
    ) -> TokenSet:
        features = encode_rows(self.columns_, cells.values, cells.codes, text)
        return TokenSet(torch.from_numpy(features), torch.tensor([0, len(features)]), names=labels)

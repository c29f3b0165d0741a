"""Rows of a table as batches, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet

CELLS_A_BATCH = 65_536
"""Cells predicted at a time, but for a single row that has more."""


def grid(cells: TokenSet) -> tuple[Float[Tensor, "rows columns"], Int[Tensor, "rows columns"]]:
    """Return the values and the codes of a table's cells, one row a table row; both are views.

    Raises:
        ValueError: The tokens are no cells.
    """
    if cells.code is None:
        raise ValueError("tokens must be cells of a table, with x and code")
    shape = (cells.num_sets, cells.num_tokens // max(1, cells.num_sets))
    return cells.x.view(shape), cells.code.view(shape)


def bare_rows(cells: TokenSet) -> TokenSet:
    """Return the cells with what a network reads, and nothing else to move about."""
    out = TokenSet()
    for key in ("x", "ptr", "code", "text"):
        value = cells.get(key)
        if value is not None:
            out[key] = value
    return out


def text_width(cells: TokenSet) -> int:
    """Return the features of a text; 0 where the table has none."""
    text = cells.get("text")
    return 0 if text is None else text.shape[1]


def take_rows(cells: TokenSet, rows: Int[Tensor, " some"], columns: Sequence[Column]) -> TokenSet:
    """Return some rows, with only those texts that stand in them."""
    part = cells.select(rows)
    text = part.get("text")
    if text is not None and len(rows):
        code = grid(part)[1]
        places = _text_places(columns)
        # The text of a missing cell, the first, is always there.
        used, found = torch.cat([code.new_zeros(1), code[:, places].flatten()]).unique(return_inverse=True)
        code[:, places] = found[1:].view(len(code), -1)
        part["text"] = text[used]
    return part


def batches_of_rows(cells: TokenSet, columns: Sequence[Column], like: Tensor) -> Iterator[TokenSet]:
    """Split a table into parts of bounded size, on the device of ``like`` and with numbers of its type."""
    for rows in torch.arange(cells.num_sets).split(max(1, CELLS_A_BATCH // max(1, len(columns)))):
        part = take_rows(cells, rows, columns).to(str(like.device))
        for key in ("x", "text"):
            if key in part:
                part[key] = part[key].to(like.dtype)
        yield part


def canonical_order(cells: TokenSet, target: np.ndarray, weight: Tensor | None) -> Int[Tensor, " rows"]:
    """Return an order of the rows that depends on what they hold and not on where they stand.

    Texts count by their codes, which stand in the order of the texts. Rows that compare equal hold the same
    cells, target and weight, so that their mutual order changes nothing.
    """
    values, codes = (part.numpy() for part in grid(cells))
    keys = [*values.T, *codes.T, *target.reshape(len(target), -1).T]
    if weight is not None:
        keys.append(weight.numpy())
    return torch.from_numpy(np.lexsort(keys))


def _text_places(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.kind == "text"]

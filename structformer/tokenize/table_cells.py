"""Other views of a table's cells: as names for people, and as one numeric row for each table row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from structformer.tokenize.column_numbers import expand
from structformer.tokenize.columns import FIRST, MISSING, UNSEEN, Column

_SHOWN = 40


def name_cells(
    columns: Sequence[Column],
    values: Float[np.ndarray, "tokens"],
    codes: Int[np.ndarray, "tokens"],
    types: Int[np.ndarray, "tokens"],
    strings: Sequence[str],
) -> list[str]:
    """Names such as "age=39", "job=(missing)" and "job=(unseen)".

    Numbers are read back from the standardised ones, so that far outliers are approximate; text is cut after
    40 characters.

    Args:
        columns: Columns of the fitted table.
        values: Standardised values.
        codes: Codes of the cells.
        types: Column number of each token.
        strings: The strings that the codes of text cells number.

    Raises:
        ValueError: A text cell's string is not among `strings`.
    """
    names = np.empty(len(codes), dtype=object)
    for number, column in enumerate(columns):
        mine = np.flatnonzero(types == number)
        if not len(mine):
            continue
        found = codes[mine]
        if column.kind == "text" and found.max() >= len(strings):
            raise ValueError(
                f"tokens must carry the text of column {column.name!r} (text_strings is too short)"
            )
        if column.kind == "numeric":
            shown = _show_numbers(column, values[mine])
        elif column.kind == "categorical":
            known = ["(missing)", "(unseen)", *column.categories]
            shown = [known[code] for code in found.tolist()]
        else:
            shown = [_shorten(strings[int(code)]) for code in found]
        present = found != MISSING
        names[mine] = [
            f"{column.name}={value if there else '(missing)'}"
            for value, there in zip(shown, present.tolist(), strict=True)
        ]
    return names.tolist()


def row_feature_names(columns: Sequence[Column], text_width: int) -> list[str]:
    """Names of the features of `encode_rows`, in its order."""
    names: list[str] = []
    for column in columns:
        if column.kind == "numeric":
            names.append(column.name)
        elif column.kind == "categorical":
            names += [f"{column.name}={category}" for category in column.categories]
        else:
            names += [f"{column.name}#{number}" for number in range(text_width)]
        if column.has_missing:
            names.append(f"{column.name}=(missing)")
    return names


def encode_rows(
    columns: Sequence[Column],
    values: Float[np.ndarray, "rows columns"],
    codes: Int[np.ndarray, "rows columns"],
    text: Float[np.ndarray, "texts width"],
) -> Float[np.ndarray, "rows features"]:
    """One numeric vector a row: standardised numbers, one-hot categories, text vectors.

    A column that had missing cells in training also gives an indicator of them. Unseen categories are zeros.
    """
    blocks: list[np.ndarray] = []
    for number, column in enumerate(columns):
        found = codes[:, number]
        if column.kind == "numeric":
            blocks.append(values[:, number, None])
        elif column.kind == "categorical":
            one_hot = np.zeros((len(found), len(column.categories)), dtype=np.float32)
            known = np.flatnonzero(found > UNSEEN)
            one_hot[known, found[known] - FIRST] = 1.0
            blocks.append(one_hot)
        else:
            blocks.append(text[found])
        if column.has_missing:
            blocks.append((found == MISSING).astype(np.float32)[:, None])
    return np.hstack(blocks)


def _show_numbers(column: Column, values: Float[np.ndarray, "tokens"]) -> list[str]:
    numbers = expand(values.astype(np.float64)) * column.scale + column.mean
    if column.part == "days":
        # A date's clock time is beyond the precision that single numbers leave here.
        return [str(np.datetime64(int(day), "D")) for day in np.floor(numbers.round(3))]
    if column.integer and max(abs(column.low), abs(column.high)) < 1e15:
        return [str(int(number)) for number in numbers.round()]
    # Digits beyond the precision of single numbers would only show rounding.
    decimals = 5 - int(np.floor(np.log10(column.scale)))
    return [f"{number + 0.0:.12g}" for number in numbers.round(min(decimals, 300))]


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

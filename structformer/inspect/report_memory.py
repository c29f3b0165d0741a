"""Memory slots on a report's page: gates and reading by step, and the tokens that each slot pooled and that read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from structformer.inspect.colours import shorten
from structformer.inspect.named import NamedTokens
from structformer.inspect.slots import Slots

_MOST_SETS = 20
_TOP = 8


def memory_view(slots: Slots, token: str, set_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return gates, reading and most pooled tokens of the first sets, and of all together, as plain JSON values."""
    tokens, words = slots.tokens, dict[str, int]()

    def told(kept: Any, read: Any, pooled: Any, reading: Any, name: Callable[[int], str]) -> dict[str, Any]:
        def place(token: int) -> int:
            return words.setdefault(shorten(name(token), 60), len(words))

        return {
            "kept": _rounded(kept),
            "read": _rounded(read),
            "pooled": _tops(pooled, place),
            "readers": _tops(reading, place),
        }

    read = slots.read_by_set()
    captions = tokens.set_names or set_names or [f"set {number + 1}" for number in range(tokens.sets)]
    views: list[dict[str, Any]] = []
    for number in range(min(tokens.sets, _MOST_SETS)):
        inside = slice(tokens.ptr[number], tokens.ptr[number + 1])
        parts = slots.kept[:, number], read[:, number], slots.pooled[:, inside], slots.read[:, inside]
        seen = told(*parts, partial(_name, tokens, token, int(inside.start)))
        caption = f"row {captions[number]}" if tokens.columns else captions[number]
        views.append({"name": shorten(caption, 48), **seen})
    if tokens.columns is not None:
        # The cells of a column are the same token in every row: their mean says something.
        shape = (len(slots.kept), tokens.sets, len(tokens.columns), slots.count)
        pooled, reading = (part.reshape(shape).mean(1) for part in (slots.pooled, slots.read))
        seen = told(slots.kept.mean(1), read.mean(1), pooled, reading, tokens.columns.__getitem__)
        views.insert(0, {"name": f"all {tokens.sets:,} rows, mean", **seen})
    elif tokens.sets > 1:
        none = np.zeros((len(slots.kept), 0, slots.count))
        seen = told(slots.kept.mean(1), read.mean(1), none, none, str)
        views.append({"name": f"all {tokens.sets:,} sets, mean", **seen})
    # Where most is written there is most to see.
    step, slot = np.unravel_index(slots.kept.mean(1).argmin(), (len(slots.kept), slots.count))
    return {
        "names": list(words),
        "views": views,
        "steps": len(slots.kept),
        "slots": slots.count,
        "first": [int(step), int(slot)],
        "left": tokens.sets - _MOST_SETS,
    }


def _name(tokens: NamedTokens, kind: str, start: int, token: int) -> str:
    return tokens.name(start + token, kind)


def _tops(
    values: Float[np.ndarray, "steps tokens slots"], place: Callable[[int], int]
) -> list[list[list[list[float]]]]:
    """For each step and slot the tokens of largest weight, as pairs of name and weight."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :_TOP]
    top = np.take_along_axis(values, order, axis=1)
    return [
        [[[place(i), _short(w)] for i, w in zip(*pair, strict=True)] for pair in zip(*step, strict=True)]
        for step in zip(order.swapaxes(1, 2).tolist(), top.swapaxes(1, 2).tolist(), strict=True)
    ]


def _rounded(values: Float[np.ndarray, "steps slots"]) -> list[list[float]]:
    return [[_short(value) for value in row] for row in values.tolist()]


def _short(value: float) -> float:
    return float(f"{value:.3g}")

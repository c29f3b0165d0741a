"""Values of tokens as classes or as a scale, for the page to colour by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

# As many as a person tells apart, and as the page has colours for.
MOST_CLASSES = 10
_MOST_NUMBERED_CLASSES = 30


def plain(values: Iterable[Any] | None, count: int) -> list[Any]:
    """``count`` Python values, None where unknown (None, NaN, NaT); all unknown if there are none."""
    if values is None:
        return [None] * count
    listed = values.tolist() if isinstance(values, np.ndarray | Tensor | pd.Series) else list(values)
    listed = [value.item() if isinstance(value, np.generic) else value for value in listed]
    return [None if _unknown(value) else value for value in listed]


def is_scale(values: Sequence[Any]) -> bool:
    """Whether plain values are numbers to be read as a scale: some has a fraction, or they are many."""
    known = [value for value in values if value is not None]
    if not known or any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return False
    whole = all(math.isfinite(value) and value == int(value) for value in known)
    return not whole or len(set(known)) > _MOST_NUMBERED_CLASSES


def encode(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Plain values as what the page reads.

    A scale is ``{kind: "scale", value, low, high}``; classes are ``{kind: "classes", value, classes}``,
    where a value is a position in ``classes`` and −1 is unknown. Of many classes the largest are kept and
    the others share one.
    """
    if is_scale(values):
        finite = [value for value in values if value is not None and math.isfinite(value)]
        scale = [
            None if value is None or not math.isfinite(value) else float(f"{value:.5g}") for value in values
        ]
        return {
            "name": name,
            "kind": "scale",
            "value": scale,
            "low": min(finite, default=0.0),
            "high": max(finite, default=1.0),
        }
    counts = Counter(value for value in values if value is not None)
    kept = [value for value, _ in counts.most_common(MOST_CLASSES)]
    if len(counts) > MOST_CLASSES:
        kept = kept[:-1]
    try:
        kept.sort()
    except TypeError:
        kept.sort(key=str)
    classes = [{"name": shorten(value, 40), "count": counts[value]} for value in kept]
    if len(counts) > len(kept):
        others = sum(counts.values()) - sum(counts[value] for value in kept)
        classes.append({"name": f"{len(counts) - len(kept)} other classes", "count": others})
    place = {value: i for i, value in enumerate(kept)}
    codes = [-1 if value is None else place.get(value, len(kept)) for value in values]
    return {"name": name, "kind": "classes", "value": codes, "classes": classes}


def shorten(value: Any, most: int) -> str:
    """A value as a text of at most ``most`` characters."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _unknown(value: Any) -> bool:
    return (
        value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT
    )

"""Numbers of a table's column: standardisation that outliers cannot spoil, and infinite values."""

from __future__ import annotations

from typing import Literal, TypedDict

import numpy as np
import pandas as pd
from jaxtyping import Float

_KEPT = 4.0
_BOUND = 8.0
_TAIL = 0.005
_FENCE = 5.0


class Description(TypedDict):
    """What `describe_numbers` finds; the names are those of `Column`'s fields."""

    mean: float
    scale: float
    low: float
    high: float
    integer: bool


def squash(standard: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """Keep values within ±4 and draw those beyond it smoothly into ±8.

    y = z for |z| ≤ 4, otherwise sign(z)·(4 + 4u/(1 + u)) with u = (|z| - 4)/4. Strictly increasing with a
    continuous slope, so that outliers keep their order; ±infinity gives ±8.
    """
    excess = np.clip(np.abs(standard) / _KEPT - 1.0, 0.0, 1e30)
    bent = np.sign(standard) * _KEPT * (1.0 + excess / (1.0 + excess))
    return np.where(excess > 0, bent, standard)


def expand(squashed: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """Undo `squash`; values at ±8 come back as very large, finite ones."""
    share = np.clip((np.abs(squashed) - _KEPT) / (_BOUND - _KEPT), 0.0, 1.0 - 1e-7)
    stretched = np.sign(squashed) * _KEPT * (1.0 + share / (1.0 - share))
    return np.where(share > 0, stretched, squashed)


def describe_numbers(ordered: Float[np.ndarray, "values"]) -> Description:
    """Centre, spread and range of a column's finite values.

    Mean and standard deviation are taken after clipping to the 0.5% and 99.5% quantiles and to five
    interquartile ranges beyond the quartiles (where that range is not zero). When clipping leaves one value
    only, those of all values are used instead. The scale of a constant column is 1.

    Args:
        ordered: The values in ascending order, so that the sums do not depend on the order of rows.
    """
    if not len(ordered):
        return Description(mean=0.0, scale=1.0, low=0.0, high=0.0, integer=False)
    low, high = float(ordered[0]), float(ordered[-1])
    # A size near 1, before clipping and after, keeps squares of huge and tiny values representable.
    values, size = _at_unit_size(ordered)
    bottom, first, third, top = np.quantile(values, [_TAIL, 0.25, 0.75, 1.0 - _TAIL])
    if third > first:
        reach = _FENCE * (third - first)
        bottom, top = max(bottom, first - reach), min(top, third + reach)
    clipped = np.clip(values, bottom, top)
    used, used_size = _at_unit_size(clipped if clipped[0] < clipped[-1] else values)
    mean, scale = float(used.mean()) * used_size * size, float(used.std()) * used_size * size
    return Description(
        # A constant's computed mean may be one rounding off, which would give its cells a value.
        mean=low if low == high else mean,
        scale=scale if low < high and scale > 0 else 1.0,
        low=low,
        high=high,
        integer=bool(np.all(ordered == np.round(ordered))),
    )


def _at_unit_size(ordered: Float[np.ndarray, "values"]) -> tuple[Float[np.ndarray, "values"], float]:
    size = max(abs(float(ordered[0])), abs(float(ordered[-1]))) or 1.0
    return ordered / size, size


def clip_infinite(
    values: Float[np.ndarray, "rows"],
    series: pd.Series,
    name: str,
    infinite: Literal["error", "clip"],
    bounds: tuple[float, float] | None = None,
) -> Float[np.ndarray, "rows"]:
    """Refuse infinite values, or set them to the largest and smallest finite training value.

    Args:
        values: Numbers read from the column.
        series: The column, whose index labels the rows.
        name: The column's name.
        infinite: "error" or "clip".
        bounds: Smallest and largest finite training value; those of `values` themselves by default.
            Without any finite value, infinite ones become missing.

    Raises:
        ValueError: A value is infinite and `infinite` is "error".
    """
    bad = np.isinf(values)
    if not bad.any():
        return values
    if infinite == "error":
        row = series.index[int(np.argmax(bad))]
        raise ValueError(
            f"column {name!r} must be finite (got {values[bad][0]} in row {row}; "
            f'{int(bad.sum())} infinite in all): remove them, or pass infinite="clip"'
        )
    if bounds is None:
        finite = values[np.isfinite(values)]
        bounds = (float(finite.min()), float(finite.max())) if len(finite) else (np.nan, np.nan)
    return np.where(bad, np.where(values > 0, bounds[1], bounds[0]), values)

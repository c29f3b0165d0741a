"""TokenSet in a notebook: what it holds, its first names and how large its sets are."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from structformer import markup

if TYPE_CHECKING:
    from structformer.tokens import TokenSet

_WIDTH, _HEIGHT, _MOST_BARS, _MOST_NAMES = 300, 120, 24, 5
_LEVELS = {"token": "tokens", "edge": "edges", "set": "sets", "batch": "whole batch"}


def to_html(tokens: "TokenSet") -> str:
    """See `TokenSet._repr_html_`."""
    title, subtitle = "TokenSet", markup.text(repr(tokens)[len("TokenSet(") : -1], 160)
    # PyG keeps them in no order that lasts.
    keys = sorted(set(tokens.keys()) - {"ptr", "batch"}, key=lambda key: (key != "x", key))
    fields = [(markup.name(key), _LEVELS[tokens._level(key)], _content(tokens[key])) for key in keys]
    parts = [markup.table(fields, "Fields", ("name", "belongs to", "content"))]
    parts[0] += _names("token", tokens.names) + _names("set", tokens.set_names)
    if not tokens.ptr.is_meta and tokens.num_sets > 1:
        parts.append(_histogram(tokens.sizes.cpu().numpy()))
    return markup.block(title, subtitle, parts)


def _content(value: Any) -> str:
    """Type and shape of a field's value."""
    if isinstance(value, Tensor):
        where = "" if value.device.type == "cpu" else f", {value.device}"
        return markup.text(f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}{where}")
    if isinstance(value, list):
        return f"list of {len(value):,}"
    return markup.text(repr(value), 60)


def _names(what: str, names: list[Any] | None) -> str:
    if not names:
        return ""
    shown = ", ".join(markup.name(name, 28) for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    rest = f" and {more:,} more" if more > 0 else ""
    return (
        f"<div>First names of {what}s: {shown}{rest}</div>"
        if more > 0
        else f"<div>Names of {what}s: {shown}</div>"
    )


def _histogram(sizes: np.ndarray) -> str:
    """How many sets have how many tokens, as bars."""
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return f"<div>Every set has {low:,} token{'' if low == 1 else 's'}.</div>"
    # Bars of whole numbers of tokens, all equally wide.
    width = -(-(high - low + 1) // _MOST_BARS)
    counts = np.bincount((sizes - low) // width)
    step = _WIDTH / len(counts)
    floor, top = _HEIGHT - 16, int(counts.max())
    bars: list[str] = []
    for place, count in enumerate(counts.tolist()):
        if not count:
            continue
        tall = max(1.0, (floor - 16) * count / top)
        first = low + place * width
        span = f"{first:,}" if width == 1 else f"{first:,} to {first + width - 1:,}"
        bars.append(
            f'<rect x="{place * step:.1f}" y="{floor - tall:.1f}" width="{max(step - 1, 1):.1f}" '
            f'height="{tall:.1f}"><title>{span} tokens: {count:,} sets</title></rect>'
        )
    described = f"Histogram of set sizes, from {low} to {high} tokens, mean {sizes.mean():.1f}"
    axis = (
        f'<g fill="currentColor" font-size="11"><text x="0" y="{_HEIGHT - 3}">{low:,}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 3}" text-anchor="end">{high:,} tokens</text>'
        f'<text x="0" y="10">up to {top:,} sets a bar</text></g>'
    )
    line = f'<path d="M0 {floor}H{_WIDTH}" stroke="currentColor" stroke-opacity=".5"/>'
    drawn = markup.svg(_WIDTH, _HEIGHT, described, f'<g fill="#0072B2">{"".join(bars)}</g>{line}{axis}')
    heading = f"<div><strong>Tokens in a set</strong>: mean {sizes.mean():.1f}</div>"
    return heading + drawn

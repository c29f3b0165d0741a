"""A small picture of a TokenGraph as inline SVG: its tokens, or of a large graph its communities."""

from typing import TYPE_CHECKING

import numpy as np

from structformer import markup
from structformer.graph.colours import PALETTE, UNKNOWN, Colouring
from structformer.graph.discs import captions, means, shares
from structformer.graph.layout import layout
from structformer.graph.selection import Edges, Selection, select
from structformer.graph.texts import find_room

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

WIDTH, MOST_HEIGHT = 360, 270
_MARGIN = (34, 22)
_UPWARD = np.array([1, -1])
MOST_TOKENS = 80
_MOST_NAMES, _MOST_LETTERS, _LETTER, _FONT = 24, 26, 6.3, 10
# Blue to yellow as cividis, told apart with every colour vision deficiency, but visible on dark pages.
_SCALE = ("#2C5AA0", "#62799F", "#949391", "#C5B36B", "#F4DD3E")


def picture(
    graph: "TokenGraph", colours: Colouring, meaning: str = "the greater the weight"
) -> tuple[str, str]:
    """The picture as markup, and below it what it shows, and what thick lines mean, as markup too."""
    shown = select([graph], None, MOST_TOKENS)
    count = len(shown.sizes)
    if not count:
        return "", ""
    radii = (shown.sizes / shown.sizes.mean()) ** 0.5 if shown.grouped else None
    places = layout(shown.union.pairs, shown.union.weight, count, 0, radii)
    points, scale, height = _on_page(places, radii)
    if radii is None:
        small = graph.is_bipartite & (shown.tokens >= graph.num_targets)
        reach = np.where(small, 0.7, 1.0) * float(np.clip(28 / count**0.5, 3, 7))
        words = _names(graph, shown)
        nodes = _dots(points, reach, colours, shown.tokens, words)
    else:
        reach, words = radii * scale, captions(graph, shown, colours)
        nodes = _pies(points, reach, shown, colours, words)
    lines = _lines(points, shown.steps[0], 5.0 if shown.grouped else 1.4)
    said = ", ".join(shown.notes) or f"{count} token{'' if count == 1 else 's'}"
    said += f"; the thicker a line, {meaning}." if len(shown.steps[0].pairs) else "."
    content = lines + nodes + _texts(points, reach, words, shown)
    drawn = markup.svg(WIDTH, height, f"Picture of the graph: {said}", content)
    return drawn, f"Shown: {markup.text(said, 300)} {_legend(colours, shown)}"


def _legend(colours: Colouring, shown: Selection) -> str:
    """Which colour is which label."""
    if not colours.labelled:
        return ""
    if colours.values is not None:
        low, high = (markup.text(f"{value:.3g}") for value in colours.limits)
        return f"Labels from {low} {''.join(map(_dot, _SCALE))} to {high}."
    few = colours.commonest()
    present = set(few.codes[shown.tokens].tolist())
    keys = [(color, few.classes[code]) for code, color in enumerate(few.palette()) if code in present]
    keys += [(UNKNOWN, "unlabelled")] if -1 in present else []
    return f"Labels: {' '.join(f'{_dot(color)} {markup.name(label, 20)}' for color, label in keys)}"


def _dot(color: str) -> str:
    return f'<span aria-hidden="true" style="color:{color}">●</span>'


def _names(graph: "TokenGraph", shown: Selection) -> list[str]:
    names = graph.names
    if graph.is_bipartite:
        both = (graph.names or [], graph.source_names or [])
        names = None if not all(both) else [*both[0], *both[1]]
    return [""] * len(shown.sizes) if names is None else [names[token] for token in shown.tokens]


def _on_page(places: np.ndarray, radii: np.ndarray | None) -> tuple[np.ndarray, float, int]:
    """Places in the picture's own units, how many of them one unit was, and how high the picture is."""
    reach = np.zeros(len(places)) if radii is None else radii
    low, high = (places - reach[:, None]).min(0), (places + reach[:, None]).max(0)
    room = np.array([WIDTH - 2 * _MARGIN[0], MOST_HEIGHT - 2 * _MARGIN[1]])
    # A lone node is no larger than a graph's.
    scale = float((room / np.maximum(high - low, 1e-9)).min()) if (high - low).max() > 0 else 1.0
    scale = scale if radii is None else min(scale, 36 / float(radii.max()))
    height = round((high - low)[1] * scale) + 2 * _MARGIN[1]
    return np.array([WIDTH, height]) / 2 + (places - (low + high) / 2) * scale * _UPWARD, scale, height


def _lines(points: np.ndarray, edges: Edges, thickest: float) -> str:
    """Lines in four strengths, one path each."""
    if not len(edges.pairs):
        return ""
    span = float(np.ptp(edges.weight))
    share = (edges.weight - edges.weight.min()) / span if span else np.full(len(edges.weight), 0.5)
    level = np.minimum((share * 4).astype(int), 3)
    crowd = min(1.0, (150 / len(edges.pairs)) ** 0.25)
    paths: list[str] = []
    for number in np.unique(level).tolist():
        ends = points[edges.pairs[level == number]]
        drawn = "".join(f"M{a[0]:.0f} {a[1]:.0f}L{b[0]:.0f} {b[1]:.0f}" for a, b in ends)
        width, opacity = (
            0.5 + thickest * number / 3,
            (0.2 + (0.15 if thickest < 2 else 0.08) * number) * crowd,
        )
        paths.append(f'<path d="{drawn}" stroke-width="{width:.1f}" stroke-opacity="{opacity:.2f}"/>')
    return f'<g fill="none" stroke="currentColor" stroke-linecap="round">{"".join(paths)}</g>'


def _on_scale(values: np.ndarray, colours: Colouring) -> list[str]:
    """A colour for each number, from the least to the greatest of all labels."""
    return [UNKNOWN if np.isnan(part) else _SCALE[min(int(part * 5), 4)] for part in colours.share(values)]


def _outlined(content: str) -> str:
    return f'<g stroke="currentColor" stroke-opacity=".45" stroke-width=".7">{content}</g>'


def _dots(
    points: np.ndarray, reach: np.ndarray, colours: Colouring, tokens: np.ndarray, words: list[str]
) -> str:
    if colours.values is not None:
        fill = _on_scale(colours.values[tokens], colours)
    else:
        few = colours.commonest()
        known = [*few.palette(), UNKNOWN if colours.labelled else PALETTE[0]]
        fill = [known[code] for code in few.codes[tokens]]
    dots: list[str] = []
    for (x, y), radius, color, word in zip(points, reach, fill, words, strict=True):
        title = f"<title>{markup.text(word, 18)}</title>" if word else ""
        dots.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.1f}" fill="{color}">{title}</circle>')
    return _outlined("".join(dots))


def _pies(
    points: np.ndarray, reach: np.ndarray, shown: Selection, colours: Colouring, words: list[str]
) -> str:
    few = colours.commonest()
    if colours.values is not None:
        parts, fill = (
            np.ones((len(points), 1)),
            [[color] for color in _on_scale(means(shown, colours), colours)],
        )
    elif colours.labelled:
        parts, fill = shares(shown, few), [[*few.palette(), UNKNOWN]] * len(points)
    else:
        parts, fill = np.ones((len(points), 1)), [[PALETTE[0]]] * len(points)
    pies: list[str] = []
    for place, radius, share, color, word in zip(points, reach, parts, fill, words, strict=True):
        slices = "".join(
            _slice(place, radius, start, start + part, color[code])
            for code, (part, start) in enumerate(zip(share, np.cumsum(share) - share, strict=True))
            if part > 0.002
        )
        pies.append(f"<g><title>{markup.text(word)}</title>{slices}</g>")
    return _outlined("".join(pies))


def _slice(place: np.ndarray, radius: float, start: float, end: float, color: str) -> str:
    """A part of a disc, clockwise from the top; all of it is a circle, which an arc cannot be."""
    x, y = place
    if end - start > 0.998:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}"/>'
    (a, b), (c, d) = ((np.sin(2 * np.pi * t), -np.cos(2 * np.pi * t)) for t in (start, end))
    far = int(end - start > 0.5)
    return (
        f'<path d="M{x:.1f} {y:.1f}L{x + radius * a:.1f} {y + radius * b:.1f}A{radius:.1f} {radius:.1f} 0 {far} 1 '
        f'{x + radius * c:.1f} {y + radius * d:.1f}Z" fill="{color}"/>'
    )


def _texts(points: np.ndarray, reach: np.ndarray, words: list[str], shown: Selection) -> str:
    """Names, or captions, of the best connected or the largest, where they find room."""
    rank = np.bincount(shown.union.pairs.ravel(), np.repeat(shown.union.weight, 2), len(words))
    order = np.argsort(-(shown.sizes if shown.grouped else rank), kind="stable")
    cut = {i: markup.text(words[i], _MOST_LETTERS) for i in order.tolist() if words[i]}
    # A width that holds for letters of most scripts: East Asian ones take twice the room.
    halves = {
        i: np.array([sum(2 if ord(c) > 0x2E7F else 1 for c in words[i][:_MOST_LETTERS]) * _LETTER, _FONT + 2])
        / 2
        for i in list(cut)[:_MOST_NAMES]
    }
    texts: list[str] = []
    # A page counts from the top, and the first choice is above a node.
    for i, spot in find_room(points * _UPWARD, reach, halves).items():
        x, y = points[i] + spot * _UPWARD * (halves[i] + reach[i] + 1)
        half = halves[i][0]
        if half < x < WIDTH - half:
            texts.append(f'<text x="{x:.0f}" y="{y + 3.5:.0f}">{cut[i]}</text>')
    return f'<g fill="currentColor" font-size="{_FONT}" text-anchor="middle">{"".join(texts)}</g>'

"""Training curves as inline SVG: the loss of each epoch, and what held-out data said."""

from __future__ import annotations

import math
from collections.abc import Sequence

from structformer import markup
from structformer.training import History

WIDTH, PANEL, _TOP, _BOTTOM = 300, 92, 18, 8
_MOST_POINTS = 300
_COLOR = "#0072B2"

Points = list[tuple[int, float]]
"""Numbers of epochs, with what was measured in each."""


def curves(histories: Sequence[History]) -> str:
    """Return a picture of the losses of one training, or of several in the same panels, as markup.

    The second panel, with a dot at the epoch whose weights were kept, is there where a part of the data was held out.
    Each panel has a scale of its own: the two losses need not be of one kind. Numbers that are not finite are left out.
    """
    panels = [("training loss", [_losses(history) for history in histories])]
    panels.append(("validation loss", [_scores(history) for history in histories]))
    panels = [(title, lines) for title, lines in panels if any(lines)]
    epochs = max((history.epochs[-1].number for history in histories if history.epochs), default=0)
    if epochs < 2 or not panels:
        return ""
    kept = [history.best for history in histories]
    drawn = "".join(
        f'<g transform="translate(0 {place * PANEL})">{_panel(title, lines, epochs, kept)}</g>'
        for place, (title, lines) in enumerate(panels)
    )
    height = len(panels) * PANEL + 14
    axis = (
        f'<g fill="currentColor" font-size="11"><text x="0" y="{height - 3}">epoch 1</text>'
        f'<text x="{WIDTH}" y="{height - 3}" text-anchor="end">{epochs:,}</text></g>'
    )
    said = " and ".join(f"{title} {_ends(lines)}" for title, lines in panels)
    return markup.svg(WIDTH, height, f"Training curve over {epochs:,} epochs: {said}", drawn + axis)


def _panel(title: str, lines: Sequence[Points], epochs: int, kept: Sequence[int]) -> str:
    values = [value for line in lines for _, value in line]
    low, high = min(values), max(values)
    floor = PANEL - _BOTTOM

    def place(epoch: int, value: float) -> tuple[float, float]:
        share = (value - low) / (high - low) if high > low else 0.5
        return (epoch - 1) / (epochs - 1) * (WIDTH - 6) + 3, floor - share * (floor - _TOP)

    parts: list[str] = []
    for line, best in zip(lines, kept, strict=True):
        points = [place(epoch, value) for epoch, value in _thinned(line)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{path}"/>' if len(points) > 1 else "")
        at_best = [place(epoch, value) for epoch, value in line if epoch == best]
        if title == "validation loss" and at_best:
            (x, y), value = at_best[0], dict(line)[best]
            tip = f"<title>epoch {best:,}, kept: {value:.4g}</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_COLOR}">{tip}</circle>')
    thin = 1.6 if len(lines) == 1 else 1.1
    return (
        f'<g fill="none" stroke="{_COLOR}" stroke-width="{thin}" stroke-linejoin="round">{"".join(parts)}</g>'
        f'<path d="M0 {floor + 4}H{WIDTH}" stroke="currentColor" stroke-opacity=".35"/>'
        f'<g fill="currentColor" font-size="11"><text x="0" y="11">{title}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end">{low:.3g} to {high:.3g}</text></g>'
    )


def _ends(lines: Sequence[Points]) -> str:
    line = next(line for line in lines if line)
    return f"from {line[0][1]:.3g} to {line[-1][1]:.3g}"


def _losses(history: History) -> Points:
    return [(entry.number, entry.loss) for entry in history.epochs if math.isfinite(entry.loss)]


def _scores(history: History) -> Points:
    # A score is a loss turned round.
    scores = [(entry.number, entry.score) for entry in history.epochs]
    return [(number, -score) for number, score in scores if score is not None and math.isfinite(score)]


def _thinned(line: Points) -> Points:
    """Every so many of the points, and the last."""
    return line[: -1 : -(-len(line) // _MOST_POINTS)] + line[-1:] if line else line

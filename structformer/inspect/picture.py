"""A learned graph as what the report's page draws: places, edges by step, colours, hover texts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from structformer.graph import TokenGraph
from structformer.inspect.colours import encode, is_scale, plain, shorten
from structformer.inspect.layout import fit_unit_square, force_layout
from structformer.inspect.report_reasoning import expert_colour
from structformer.inspect.section import Section
from structformer.inspect.selection import Selection, select


@dataclass(frozen=True)
class Limits:
    """How much of a graph is drawn.

    Attributes:
        nodes: Tokens drawn; of a larger graph a part is, and a note says which.
        sets: Sets drawn of a graph over several, the first.
        edges: Edges a step, the strongest.
        fields: Data fields shown for a token.
        columns: Columns of a table in its heat map.
        text: Characters of a name or a value.
    """

    nodes: int = 2000
    sets: int = 24
    edges: int = 20_000
    fields: int = 12
    columns: int = 40
    text: int = 60

    def scaled(self, share: float) -> Limits:
        """Smaller limits for a page that would grow too large."""
        return Limits(
            nodes=int(self.nodes * share),
            sets=self.sets,
            edges=int(self.edges * share),
            fields=max(2, int(self.fields * share)),
            columns=max(5, int(self.columns * share**0.5)),
            text=self.text,
        )


def graph_picture(section: Section, limits: Limits | None = None, seed: int = 0) -> dict[str, Any]:
    """Return everything the page needs to draw the graph of ``section``, as plain JSON values.

    Tokens keep their places over the steps: they are laid out by the edges of all steps together. Self-loops
    are left out. A graph over several sets is drawn set by set, in cells.

    Raises:
        ValueError: The section has no graph.
    """
    if section.graph is None:
        raise ValueError(f"the section {section.title!r} has no graph to draw")
    limits, graph = limits or Limits(), section.graph
    selection = select(graph, limits.nodes, section.token, seed, limits.sets)
    parts = [selection.targets, selection.sources]
    steps = edges_by_step(graph.by(), selection, limits.edges)
    place = _places(section, selection, steps, seed)
    captions, cells = _cells(section, selection)
    colours = [
        encode(name, [*_take(values, parts[0]), *_take(section.source_colours.get(name), parts[1])])
        for name, values in section.colours.items()
    ]
    inside = section.reasoning
    if inside is not None and inside.routing is not None and _by_step(section):
        colours.append(expert_colour(inside.routing, parts[0], len(parts[1])))
    return {
        "names": [
            shorten(own[i] if own else f"{section.token} {i}", limits.text)
            for own, part in zip([graph.names, graph.source_names], parts, strict=True)
            for i in part
        ],
        "targets": len(parts[0]),
        "x": [round(float(x), 4) for x in place[:, 0]],
        "y": [round(float(y), 4) for y in place[:, 1]],
        # Places that mean something keep their proportions.
        "stretch": section.positions is None and not captions,
        "captions": captions,
        "cell": cells,
        "fields": [_fields(section.data, limits), _fields(section.source_data, limits)],
        "data": _hover(section.data, parts[0], limits) + _hover(section.source_data, parts[1], limits),
        "colours": colours,
        "ringed": _ringed(section, parts[0]),
        "steps": steps,
        "listened": listened(graph, selection, limits.edges),
        "note": selection.note,
    }


def _by_step(section: Section) -> bool:
    """Whether experts are told of the drawn tokens, in every step that is drawn."""
    graph, inside = section.graph, section.reasoning
    if graph is None or inside is None or inside.routing is None or inside.tokens.columns is not None:
        return False
    steps, layers, tokens, _ = inside.routing.chosen.shape
    return tokens == graph.num_targets and steps * layers == len(graph.steps)


def _take(values: Any, part: np.ndarray) -> list[Any]:
    listed = plain(values, 0)
    return [listed[i] for i in part] if listed else [None] * len(part)


def _fields(frame: pd.DataFrame | None, limits: Limits) -> list[str]:
    return [] if frame is None else [shorten(name, limits.text) for name in frame.columns[: limits.fields]]


def _hover(frame: pd.DataFrame | None, part: np.ndarray, limits: Limits) -> list[list[str]]:
    """For each drawn token the texts of its fields."""
    if frame is None:
        return [[] for _ in part]
    shown = frame.iloc[part, : limits.fields].itertuples(index=False, name=None)
    return [[shorten(value, limits.text) for value in row] for row in shown]


def _ringed(section: Section, targets: np.ndarray) -> list[int]:
    """Drawn targets whose ``prediction`` is not their ``label``, where both are there and are classes."""
    if not {"label", "prediction"} <= set(section.colours):
        return []
    labels, predictions = (_take(section.colours[name], targets) for name in ("label", "prediction"))
    if is_scale(labels) or is_scale(predictions):
        return []
    pairs = enumerate(zip(labels, predictions, strict=True))
    return [place for place, (a, b) in pairs if a is not None and b is not None and a != b]


def edges_by_step(graph: TokenGraph, selection: Selection, most: int) -> list[dict[str, Any]]:
    """For each step its edges between drawn tokens, as positions among these, the strongest first."""
    source_place = np.full(graph.num_sources, -1)
    if graph.is_bipartite:
        source_place[selection.sources] = np.arange(len(selection.sources)) + len(selection.targets)
    else:
        source_place[selection.targets] = np.arange(len(selection.targets))
    target_place = np.full(graph.num_targets, -1)
    target_place[selection.targets] = np.arange(len(selection.targets))
    steps: list[dict[str, Any]] = []
    for step in graph.steps:
        target = target_place[step.row.cpu().numpy()]
        source = source_place[step.col.cpu().numpy()]
        weight = step.mean_weight().detach().double().cpu().numpy()
        drawn = np.flatnonzero((target >= 0) & (source >= 0) & (target != source) & (weight > 0))
        order = drawn[np.argsort(-weight[drawn], kind="stable")][:most]
        edges: dict[str, Any] = {"source": source[order].tolist(), "target": target[order].tolist()}
        edges["weight"] = [float(f"{value:.4g}") for value in weight[order]]
        edges["total"] = len(drawn)
        steps.append(edges)
    return steps


def listened(graph: TokenGraph, selection: Selection, most: int) -> list[dict[str, Any]] | None:
    """The same by weight, of a graph whose edges are shown by their support; otherwise None."""
    return None if graph.by() is graph else edges_by_step(graph, selection, most)


def _places(
    section: Section, selection: Selection, steps: list[dict[str, Any]], seed: int
) -> Float[np.ndarray, "drawn 2"]:
    """Places in the unit square; of a graph over several sets, in the unit square of each set."""
    ends = [np.array([step["source"], step["target"]], dtype=np.int64) for step in steps]
    edges = np.concatenate(ends, axis=1)
    weight = np.concatenate([np.array(step["weight"], dtype=np.float64) for step in steps])
    boundaries = selection.ptr
    if len(boundaries) < 3:
        boundaries = [0, len(selection.targets) + len(selection.sources)]
    places: list[np.ndarray] = []
    for start, end in pairwise(boundaries):
        if section.positions is not None:
            given = np.asarray(section.positions, dtype=np.float64)[selection.targets[start:end]]
            places.append(fit_unit_square(given))
            continue
        inside = (edges[0] >= start) & (edges[0] < end)
        place = force_layout(end - start, edges[:, inside] - start, weight[inside], seed)
        places.append(_filled(place) if len(boundaries) == 2 else place)
    return np.concatenate(places)


def _cells(section: Section, selection: Selection) -> tuple[list[str], list[int]]:
    """The sets' captions and each drawn token's set; both empty for a single set."""
    sizes = np.diff(selection.ptr)
    if len(sizes) < 2:
        return [], []
    names = section.set_names or [f"set {number + 1}" for number in range(len(sizes))]
    return [shorten(name, 48) for name in names[: len(sizes)]], np.repeat(
        np.arange(len(sizes)), sizes
    ).tolist()


def _filled(place: Float[np.ndarray, "drawn 2"]) -> Float[np.ndarray, "drawn 2"]:
    """Turn a force layout so that it is widest from left to right, and stretch its height at most twofold."""
    if len(place) < 3:
        return place
    centred = place - place.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    # Directions have no sign of their own: their larger entry is made positive.
    axes = axes * np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    turned = fit_unit_square(centred @ axes.T) - 0.5
    extent = np.maximum(turned.max(0) - turned.min(0), 1e-9)
    return turned * np.minimum(1 / extent, 2.0) + 0.5

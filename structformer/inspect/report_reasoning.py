"""The inside of a model on a report's page: use of experts, what memory slots pooled and who read them, steps taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from structformer.inspect.colours import MOST_CLASSES, shorten
from structformer.inspect.embed import json_for_page
from structformer.inspect.inside import Reasoning
from structformer.inspect.routing import Routing
from structformer.inspect.slots import Slots

_MOST_SETS = 20
_TOP = 8


def reasoning_view(found: Reasoning, token: str, set_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return everything the page needs to show ``found``.

    Args:
        found: What went on.
        token: What a token is, in the singular.
        set_names: Captions of the sets; those of a table are the names of its rows.
    """
    token = token if found.tokens.columns is None else "cell"
    memory = None if found.memory is None else memory_view(found.memory, token, set_names)
    return {
        "token": token,
        "networks": found.networks,
        "experts": None if found.routing is None else _experts(found.routing),
        "memory": memory,
        "json": None if memory is None else json_for_page(memory),
        "halting": None if found.taken is None else _halting(found),
    }


def expert_colour(routing: Routing, part: np.ndarray, rest: int = 0) -> dict[str, Any]:
    """Return the experts of drawn tokens as a colouring of its own for every step and layer.

    A token has the colour of its first choice. Experts keep their colours over all steps, and an expert that nobody
    goes through stays in the legend; of more than ten experts the most used are told apart.

    Args:
        routing: The experts of all tokens.
        part: Which tokens are drawn.
        rest: How many tokens follow them of which nothing is known.
    """
    chosen, weights = routing.in_effect()
    used = routing.use().sum().to_numpy()
    kept = np.sort(np.argsort(-used, kind="stable")[: MOST_CLASSES - (routing.experts > MOST_CLASSES)])
    place = np.full(routing.experts, len(kept))
    place[kept] = np.arange(len(kept))
    names = [f"expert {expert}" for expert in kept]
    if len(kept) < routing.experts:
        names.append(f"{routing.experts - len(kept)} other experts")
    steps: list[dict[str, Any]] = []
    for experts, shares in zip(
        *(x.reshape(-1, *x.shape[2:])[:, part] for x in (chosen, weights)), strict=True
    ):
        value = place[experts[:, 0]]
        counts = np.bincount(value, minlength=len(names))
        steps.append(
            {
                "value": value.tolist() + [-1] * rest,
                "classes": [{"name": n, "count": int(c)} for n, c in zip(names, counts, strict=True)],
                "chosen": experts.tolist(),
                "share": np.rint(100 * shares).astype(int).tolist(),
            }
        )
    return {"name": "expert", "kind": "classes", "steps": steps}


def memory_view(slots: Slots, token: str, set_names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return gates, reading and most pooled tokens of the first sets, and of all together, as plain JSON values."""
    tokens, words = slots.tokens, dict[str, int]()

    def told(kept: Any, read: Any, pooled: Any, reading: Any, names: list[str]) -> dict[str, Any]:
        places = [words.setdefault(shorten(name, 60), len(words)) for name in names]
        return {
            "kept": _rounded(kept),
            "read": _rounded(read),
            "pooled": _tops(pooled, places),
            "readers": _tops(reading, places),
        }

    read = slots.read_by_set()
    captions = tokens.set_names or set_names or [f"set {number + 1}" for number in range(tokens.sets)]
    views: list[dict[str, Any]] = []
    for number in range(min(tokens.sets, _MOST_SETS)):
        inside = slice(tokens.ptr[number], tokens.ptr[number + 1])
        names = [tokens.name(place, token) for place in range(inside.start, inside.stop)]
        seen = told(
            slots.kept[:, number], read[:, number], slots.pooled[:, inside], slots.read[:, inside], names
        )
        caption = f"row {captions[number]}" if tokens.columns else captions[number]
        views.append({"name": shorten(caption, 48), **seen})
    if tokens.columns is not None:
        # The cells of a column are the same token in every row: their mean says something.
        shape = (len(slots.kept), tokens.sets, len(tokens.columns), slots.count)
        pooled, reading = (part.reshape(shape).mean(1) for part in (slots.pooled, slots.read))
        seen = told(slots.kept.mean(1), read.mean(1), pooled, reading, list(tokens.columns))
        views.insert(0, {"name": f"all {tokens.sets:,} rows, mean", **seen})
    elif tokens.sets > 1:
        none = np.zeros((len(slots.kept), 0, slots.count))
        seen = told(slots.kept.mean(1), read.mean(1), none, none, [])
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


def _tops(
    values: Float[np.ndarray, "steps tokens slots"], places: list[int]
) -> list[list[list[list[float]]]]:
    """For each step and slot the tokens of largest weight, as pairs of name and weight."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :_TOP]
    top = np.take_along_axis(values, order, axis=1)
    return [
        [[[places[i], _short(w)] for i, w in zip(*pair, strict=True)] for pair in zip(o.T, t.T, strict=True)]
        for o, t in zip(order, top.astype(float), strict=True)
    ]


def _rounded(values: Float[np.ndarray, "steps slots"]) -> list[list[float]]:
    return [[_short(value) for value in row] for row in values.tolist()]


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _experts(routing: Routing) -> dict[str, Any]:
    use, layers = routing.use(), routing.chosen.shape[1]
    rows = [
        (f"step {step}" + (f", layer {layer}" if layers > 1 else ""), share if share.any() else None)
        for (step, layer), share in zip(use.index, use.to_numpy(), strict=True)
    ]
    columns = None
    if routing.tokens.columns is not None:
        columns = zip(routing.tokens.columns, routing.use_by_column().to_numpy(), strict=True)
    dead = [f"expert {x}" + (f" of layer {layer}" if layers > 1 else "") for layer, x in routing.dead()]
    return {
        "names": list(range(routing.experts)),
        "rows": [_shares(name, share) for name, share in rows],
        "columns": None
        if columns is None
        else [_shares(shorten(name, 40), share) for name, share in columns],
        "dead": dead,
    }


def _shares(name: str, shares: np.ndarray | None) -> dict[str, Any]:
    if shares is None:
        return {"name": name, "cells": None}
    return {"name": name, "cells": [{"shade": round(float(s), 3), "text": f"{s:.0%}"} for s in shares]}


def _halting(found: Reasoning) -> dict[str, Any]:
    assert found.taken is not None
    assert found.ponder is not None
    counts = np.bincount(found.taken, minlength=found.steps + 1)[1:]
    total = max(1, counts.sum())
    rows = [
        {"steps": step, "tokens": f"{count:,}", "share": count / total, "text": f"{count / total:.0%}"}
        for step, count in enumerate(counts.tolist(), 1)
    ]
    means = {"mean": f"{found.taken.mean():.2f}", "ponder": f"{found.ponder.mean():.2f}"}
    return {"rows": rows, **(means if len(found.taken) else {"mean": "n/a", "ponder": "n/a"})}

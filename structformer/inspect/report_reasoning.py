"""The inside of a model on a report's page: use of experts, memory, steps taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from structformer.inspect.colours import MOST_CLASSES, shorten
from structformer.inspect.embed import json_for_page
from structformer.inspect.inside import Reasoning
from structformer.inspect.report_memory import memory_view
from structformer.inspect.routing import Routing

_MOST_COLUMNS = 40


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


def _experts(routing: Routing) -> dict[str, Any]:
    use, layers = routing.use(), routing.chosen.shape[1]
    rows = [
        (f"step {step}" + (f", layer {layer}" if layers > 1 else ""), share if share.any() else None)
        for (step, layer), share in zip(use.index, use.to_numpy(), strict=True)
    ]
    columns = None
    if routing.tokens.columns is not None:
        frame = routing.use_by_column()
        # Of many, those that go elsewhere than the others.
        apart = (frame - frame.mean()).abs().sum(axis=1).to_numpy()
        frame = frame.iloc[np.sort(np.argsort(-apart, kind="stable")[:_MOST_COLUMNS])]
        columns = list(zip(frame.index, frame.to_numpy(), strict=True))
    dead = [f"expert {x}" + (f" of layer {layer}" if layers > 1 else "") for layer, x in routing.dead()]
    return {
        "names": list(range(routing.experts)),
        "rows": [_shares(name, share) for name, share in rows],
        "columns": None
        if columns is None
        else [_shares(shorten(name, 40), share) for name, share in columns],
        "left": 0 if columns is None else len(routing.tokens.columns or ()) - len(columns),
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

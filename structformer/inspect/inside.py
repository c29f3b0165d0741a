"""What goes on inside a ReSSFormer: experts, memory slots and steps, under the data's own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from torch import nn

from structformer.inspect.attribution import Explainable
from structformer.inspect.named import NamedTokens
from structformer.inspect.routing import Routing
from structformer.inspect.slots import Slots
from structformer.inspect.watch import Watched, numbered, watched
from structformer.nn.r2mu import R2MU


@dataclass(frozen=True, eq=False)
class Reasoning:
    """What a ReSSFormer did with some data; see `reasoning`.

    Attributes:
        tokens: Whom it is about.
        steps: How many steps there were; under halting all are looked at, whoever had halted.
        routing: Each token's experts; None where there is one feed-forward block instead (``experts=1``).
        memory: The slots; None without any (``slots=0``), and in causal text, whose slots are written only between
            segments.
        taken: Steps that each token took before it halted; None without a halting rule.
        ponder: The same, plus what was left in the last of the probability to halt; None without a halting rule.
        networks: How many networks predict together; this is about one of them.
    """

    tokens: NamedTokens
    steps: int
    routing: Routing | None
    memory: Slots | None
    taken: Int[np.ndarray, "tokens"] | None
    ponder: Float[np.ndarray, "tokens"] | None
    networks: int = 1

    def to_frame(self) -> pd.DataFrame:
        """Return one row a token, in the order of the data.

        Returns:
            Columns ``set``, ``token`` (its position), ``name`` (where there are names), ``steps`` and ``ponder`` (under
            a halting rule), ``expert`` (its first choice in the last layer of the last step that it took), and ``slot``
            (the one that it read most in that step). What the model lacks has no column.
        """
        place = np.arange(len(self.tokens))
        frame = self.tokens.frame(place)
        if self.taken is not None:
            frame["steps"], frame["ponder"] = self.taken, self.ponder
        if self.routing is not None:
            frame["expert"] = self.routing.in_effect()[0][-1, -1, :, 0]
        if self.memory is not None:
            last = self.steps if self.taken is None else self.taken
            frame["slot"] = self.memory.read.argmax(-1)[last - 1, place]
        return frame


def reasoning(model: Any, X: Any, *, names: Sequence[str] | None = None, network: int = 0) -> Reasoning:
    """Return which experts, slots and steps a ReSSFormer used over ``X``; predictions are as without looking.

    It costs one prediction, and memory of tokens · steps · (slots + layers · active experts).

    Args:
        model: A fitted estimator with ``model="ressformer"``, whose tokens are nodes, elements of sets, cells of a
            table or sentences; or a torch module with a `ReSSFormer` inside, such as `TextQA`.
        X: What the estimator's ``learned_graph`` takes; or a tuple of the module's arguments.
        names: Names for the tokens of a module, in order; an estimator knows those of its data.
        network: A table estimator asks several networks, whose experts and slots have nothing in common: which.

    Raises:
        ValueError: There is no ReSSFormer in ``model``, no such network, or ``X`` cannot be used.
        TypeError: ``model`` is neither an estimator of structformer nor a module.
        NotFittedError: The estimator is not fitted.

    Examples:
        >>> import numpy as np, structformer as sf
        >>> sets = [np.random.default_rng(n).normal(size=(5, 2)) for n in range(20)]
        >>> model = sf.SetClassifier(model="ressformer", epochs=2, random_state=0).fit(sets, [0, 1] * 10)
        >>> found = sf.inspect.reasoning(model, sets[:2])
        >>> found.routing.use().shape, found.memory.kept.shape
        ((2, 4), (2, 2, 8))
    """
    if isinstance(model, nn.Module):
        if not isinstance(X, tuple):
            raise ValueError(f"X must be a tuple, the arguments of the module (got {type(X).__name__})")
        entry, networks = _watched_module(model, X, network)
        tokens = NamedTokens(entry.ptr, None if names is None else list(names))
        return _told(entry, tokens, networks)
    if not isinstance(model, Explainable):
        raise TypeError(
            f"model must be an estimator of structformer or a module (got {type(model).__name__})"
        )
    if names is not None:
        raise ValueError("names are for modules: an estimator names tokens as its data does")
    return _of_estimator(model, X, network)


def holds_reasoning(model: Any) -> bool:
    """Return whether an estimator is fitted with a ReSSFormer inside, so that `reasoning` has something to say."""
    if not isinstance(model, Explainable) or not isinstance(model, BaseEstimator):
        return False
    return any(isinstance(part, R2MU) for network in model.graph_layers()[0] for part in network.modules())


def _of_estimator(model: Any, X: Any, network: int) -> Reasoning:
    networks, _ = model.graph_layers()
    with watched(networks) as entries:
        _chosen(entries, network)
        if hasattr(model, "column_graph"):
            model.column_graph(X)
            cells = model.tokenizer_.transform(X)
            columns = tuple(map(str, model.tokenizer_.column_names))
            names = list(columns) * cells.num_sets
            tokens = NamedTokens(cells.ptr.numpy(), names, cells.set_names, columns)
            return _told(_chosen(entries, network), tokens, len(entries))
        with numbered(networks):
            graph = model.learned_graph(X, support=False)
    assert graph.weight is not None
    entry = _chosen(entries, network)
    ptr = entry.ptr if graph.ptr is None else graph.ptr.numpy()
    return _told(entry, NamedTokens(ptr, graph.names), len(entries), graph.weight.numpy().astype(np.int64))


def _watched_module(model: nn.Module, X: tuple[Any, ...], network: int) -> tuple[Watched, int]:
    training = model.training
    with watched([model]) as entries, torch.no_grad():
        _chosen(entries, network)
        try:
            model.eval()(*X)
        finally:
            model.train(training)
    return _chosen(entries, network), len(entries)


def _chosen(entries: Sequence[Watched], network: int) -> Watched:
    if not entries:
        raise ValueError('model must hold a ReSSFormer, as with model="ressformer" (it has none)')
    if not 0 <= network < len(entries):
        raise ValueError(f"network must be from 0 to {len(entries) - 1} (got {network})")
    return entries[network]


def _told(
    entry: Watched, tokens: NamedTokens, networks: int, order: Int[np.ndarray, "tokens"] | None = None
) -> Reasoning:
    """Put what was watched under the names of the data, in whose order the unit's tokens are ``order``."""

    def part(name: str, axis: int) -> Any:
        values = entry.joined(name, axis)
        return values if values is None or order is None else values.take(order, axis=axis)

    taken, ponder, steps = part("taken", 0), part("ponder", 0), entry.steps
    chosen, weights, kept = part("chosen", 2), part("shares", 2), entry.joined("kept", 1)
    pooled, read = part("pooled", 1), part("read", 1)
    going = np.ones((steps, len(tokens)), dtype=bool)
    if taken is not None:
        going = np.arange(steps)[:, None] < taken
    routing = None if chosen is None else Routing(tokens, entry.experts, chosen, weights, going)
    memory = None if kept is None else Slots(tokens, kept, pooled, read)
    return Reasoning(tokens, steps, routing, memory, taken, ponder, networks)

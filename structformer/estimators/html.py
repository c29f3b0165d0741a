"""Fitted estimators in a notebook: what they learned from, the network, its training and where its graph is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from structformer import markup
from structformer.estimators.curves import curves
from structformer.training import History

Row = tuple[str, str]
"""A name and what is said of it, both markup."""

_MOST_CLASSES, _MOST_OUTPUTS = 8, 4
_STOPPED = {
    "epochs": "all that were planned",
    "patience": "the validation loss fell no more",
    "max_time": "the time was up",
    "callback": "a callback asked to stop",
}


def learned(estimator: Any) -> str:
    """Return what an estimator learned, as HTML that runs no script; nothing before `fit`.

    Of the training data it holds counts, names of classes, and mean and spread of a numeric target, nothing else.

    Args:
        estimator: One of the estimators of structformer.
    """
    if estimator._seen is None:
        return ""
    histories: list[History] = estimator._histories()
    state: Mapping[str, Any] = vars(estimator)
    rows = [*_data(estimator), *_target(state), *_network(estimator), *_training(histories)]
    parts = [markup.table(rows), curves(histories)]
    return markup.block(type(estimator).__name__, "fitted", parts, _hint(estimator))


def _data(estimator: Any) -> list[Row]:
    counts: Mapping[str, int] = estimator._seen
    rows: list[Row] = []
    if counts:
        said = [f"{count:,} {things[:-1] if count == 1 else things}" for things, count in counts.items()]
        rows.append(("learned from", ", ".join(said)))
    columns = getattr(estimator.tokenizer_, "columns_", ())
    if columns:
        kinds = Counter({column.source: column.dtype for column in columns}.values())
        rows.append(
            ("kinds of columns", ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()))
        )
    return rows


def _target(state: Mapping[str, Any]) -> list[Row]:
    if "classes_" in state:
        classes = state["classes_"].tolist()
        shown = [markup.name(label, 28) for label in classes[:_MOST_CLASSES]]
        return [(f"{len(classes):,} classes", _with_rest(shown, len(classes)))]
    if "_scale" in state:
        scale = state["_scale"]
        pairs = list(zip(scale.mean, scale.spread, strict=True))
        shown = [f"{mean:.4g} ± {spread:.3g}" for mean, spread in pairs[:_MOST_OUTPUTS]]
        return [("target" if len(pairs) == 1 else f"{len(pairs):,} targets", _with_rest(shown, len(pairs)))]
    return []


def _with_rest(shown: Sequence[str], count: int) -> str:
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _network(estimator: Any) -> list[Row]:
    size = sum(parameter.numel() for parameter in estimator.model_.parameters())
    shape = vars(estimator).get("_shape")
    if shape is None:
        config, networks = estimator.model_.encoder.config, 1
        reach = [("listening", _listening(config.neighbors, "neighbour", config.steps))]
    else:
        config, networks = shape["config"], len(estimator.model_)
        reach = [
            ("cells listen to", _listening(config["cell_neighbors"], "cell", config["cell_steps"])),
            ("rows listen to", _listening(config["row_neighbors"], "training row", config["row_steps"])),
        ]
    said = f"{size:,} parameters" if networks == 1 else f"{networks}, each of {size // networks:,} parameters"
    kind = markup.text(getattr(estimator, "model", "ressformer"))
    return [*reach, ("network" if networks == 1 else "networks", f"{said}, {kind}")]


def _listening(count: int, thing: str, steps: int) -> str:
    if not steps:
        return "nobody"
    return f"up to {count} {thing}{'' if count == 1 else 's'}, in {steps} step{'' if steps == 1 else 's'}"


def _training(histories: Sequence[History]) -> list[Row]:
    done = [history for history in histories if history.epochs]
    if not done:
        return []
    epochs = ", ".join(f"{len(history.epochs):,}" for history in done)
    why = {history.stopped for history in done}
    seconds = sum(history.epochs[-1].seconds for history in done)
    rows = [
        ("epochs", f"{epochs} ({_STOPPED[why.pop()]})" if len(why) == 1 else epochs),
        ("time", f"{seconds:.3g} s on {markup.text(done[0].device)}"),
    ]
    kept = [history.epochs[history.best - 1] for history in done if history.best]
    losses = [f"{-entry.score:.4g}" for entry in kept if entry.score is not None]
    if losses:
        at = f" in epoch {kept[0].number:,}" if len(kept) == 1 else ""
        rows.append(("kept validation loss", ", ".join(losses) + at))
    return rows


def _hint(estimator: Any) -> str:
    if not hasattr(estimator, "column_graph"):
        return "<code>learned_graph(X)</code> returns who listens to whom, <code>.plot()</code> draws it."
    columns = "<code>column_graph(X)</code> says which columns listen to which"
    if not vars(estimator)["_shape"]["config"]["row_steps"]:
        return f"{columns}."
    rows = "<code>learned_graph(X)</code> returns which training rows the rows of a table listen to"
    return f"{rows}, <code>.plot()</code> draws it; {columns}."

"""`tasks/README.md` and its plots, made from the results: `python -m structformer.tasks.report`.

Nothing in it is written by hand: figures come from `results/*.jsonl`, what they mean from each task's card.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structformer.tokenize.files import replacing

from .ledger import read_ledger
from .report_plot import plot_family
from .runs import Record
from .summaries import summary
from .task_card import TaskCard

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COSTS = ("seconds", "CPU s", "MB", "seeds")
HEAD = " ".join(
    [
        "# Benchmarks\n\n`structformer bench` lists the tasks, `structformer bench TASK --full` runs one. This page is",
        "made from the files in `results/` by `python -m structformer.tasks.report`; nothing in it is written by hand.",
        "Scores are mean ± standard deviation over seeds (or splits, or folds). *Lead* is how much better our headline",
        "arm was than the arm of that row on the same splits, with the 95% interval of its mean (paired t); where all",
        "of the interval is below zero, we lose, and the row says so. Published figures stand at the end of a table,",
        "with their source; where their protocol differs from ours, a note says how.\n",
    ]
)


@dataclass(frozen=True)
class Reported:
    """A task with its results.

    Attributes:
        card: What it is.
        file: Where the results lie.
        runs: How they were made.
        rows: One a data set and arm.
    """

    card: TaskCard
    file: Path
    runs: Mapping[str, Any]
    rows: Sequence[Record]

    def data(self) -> dict[str, list[Record]]:
        """Return the rows of each data set, names in order and numbers in them too: task 2 before task 10."""
        by_data: dict[str, list[Record]] = {}
        for row in sorted(self.rows, key=lambda row: _counted(row["data"])):
            by_data.setdefault(row["data"], []).append(row)
        return by_data


def main() -> None:
    """Write the page and its plots."""
    ArgumentParser(description=main.__doc__).parse_args()
    found = list(reported())
    for family in compared(found):
        plot_family([one for one in found if one.card.family == family], RESULTS / f"{family}.png")
    with replacing(HERE / "README.md") as temporary:
        temporary.write_text(page(found), encoding="utf-8")


def reported(folder: Path = RESULTS) -> Iterator[Reported]:
    """Return the tasks that have a card and results, in the order of their names."""
    for module in pkgutil.iter_modules([str(HERE)]):
        file = folder / f"{module.name}.jsonl"
        if file.is_file():
            card: TaskCard = importlib.import_module(f"{__package__}.{module.name}").CARD
            runs, rows = read_ledger(file)
            yield Reported(card, file, runs, summary(rows, card))


def page(found: Sequence[Reported]) -> str:
    """Return the whole page."""
    parts = [HEAD]
    drawn = compared(found)
    for family in dict.fromkeys(one.card.family for one in found):
        if family in drawn:
            parts.append(f"![{family}](results/{family}.png)\n")
        parts += [section(one) for one in found if one.card.family == family]
    return "\n".join(parts)


def compared(found: Sequence[Reported]) -> list[str]:
    """Return the families in which some data set has several arms: the others have nothing to draw."""
    return list(
        dict.fromkeys(one.card.family for one in found if any(len(data) > 1 for data in one.data().values()))
    )


def section(one: Reported) -> str:
    """Return what the page says of a task."""
    card = one.card
    lines = [f"## {card.title}", "", f"{card.protocol} Score: {card.measure}, {card.better} is better.", ""]
    alone: list[Record] = []
    for data, rows in one.data().items():
        if len(rows) > 1 or any(data in other.figures for other in card.published):
            lines += [f"### {data}", "", *_table(rows, card, data), ""]
        else:
            alone += rows
    if alone:
        lines += ["### One arm alone", "", *_alone(alone, card), ""]
    notes = [f"{other.method}: {other.note}" for other in card.published if other.note]
    lines += [*(f"- {note}" for note in notes), *([""] if notes else []), *_trace(one), ""]
    return "\n".join(lines)


def _counted(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _heads(*heads: str) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"


def _table(rows: Sequence[Record], card: TaskCard, data: str) -> Iterator[str]:
    yield from _heads("arm", "score", f"lead of {card.headline}", *card.figures.values(), *COSTS)
    sign = -1 if card.better == "higher" else 1
    for row in sorted(rows, key=lambda row: (row["mean"] is None, sign * (row["mean"] or 0.0))):
        name = f"**{row['arm']}**" if row["arm"] == card.headline else row["arm"]
        yield f"| {' | '.join([name, spread(row), lead(row), *_others(row, card)])} |"
    for other in card.published:
        if data in other.figures:
            empty = [""] * (len(card.figures) + len(COSTS))
            yield f"| *{other.method}* | *{other.figures[data]}* | {' | '.join([other.source, *empty])} |"


def _alone(rows: Sequence[Record], card: TaskCard) -> Iterator[str]:
    """Yield the table of data sets on which one arm alone was tried, and nothing is published."""
    yield from _heads("data", "arm", "score", *card.figures.values(), *COSTS)
    for row in rows:
        yield f"| {' | '.join([row['data'], row['arm'], spread(row), *_others(row, card)])} |"


def _others(row: Record, card: TaskCard) -> list[str]:
    seeds = f"{row['seeds']}" + (f", {row['failed']} failed" if row["failed"] else "")
    costs = [shown(row[name]) for name in ("seconds", "cpu seconds", "megabytes")]
    return [*(shown(row[figure]) for figure in card.figures), *costs, seeds]


def spread(row: Record) -> str:
    """Return a score as a reader wants it: 81.52 ± 0.43."""
    if row["mean"] is None:
        return "none"
    return shown(row["mean"]) + (f" ± {shown(row['sd'])}" if row["sd"] is not None else "")


def lead(row: Record) -> str:
    """Return the headline arm's lead with its interval, and whether we lose."""
    if row["lead"] is None:
        return ""
    if row["low"] is None:
        return f"{row['lead']:+.3g}"
    lost = ", behind" if row["high"] < 0 else ""
    return f"{row['lead']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}]{lost}"


def shown(value: float | None) -> str:
    """Return a number with four digits, or a minus sign alone where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _trace(one: Reported) -> Iterator[str]:
    yield f"Results: [{one.file.name}](results/{one.file.name})."
    for about in one.runs.values():
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        machine = about["machine"]
        yield (
            f"`{about['command']}` at {about['commit']}, on {machine['cores']} cores of {machine['cpu']}; {versions}."
        )


if __name__ == "__main__":
    main()

"""What a benchmark task is, and what others have published for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .runs import Record


@dataclass(frozen=True)
class Published:
    """A method's published figures.

    Attributes:
        method: Its name.
        figures: As printed, by data set.
        source: Where they are printed.
        note: How its protocol differs from ours, if it does.
    """

    method: str
    figures: Mapping[str, str]
    source: str
    note: str = ""


@dataclass(frozen=True)
class TaskCard:
    """What a reader needs to make sense of a task's results.

    Attributes:
        name: Of its module.
        title: Of its section.
        family: Tasks of a family share a plot.
        measure: What "score" is, with its unit.
        headline: The arm of ours that the others are compared with.
        better: Whether a higher or a lower score is better.
        protocol: Splits, seeds, and how hyper-parameters are chosen.
        figures: Further figures of a trial that the table shows, with what they are.
        published: What others have published.
        derived: What is worked out from all trials together, such as ranks: trials in, trials out.
    """

    name: str
    title: str
    family: str
    measure: str
    headline: str
    better: Literal["higher", "lower"] = "higher"
    protocol: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    derived: Callable[[Sequence[Record]], Sequence[Record]] | None = None

"""The picture of the distractor benchmark: accuracy against length, and against the share of distractors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from structformer.tokenize.files import replacing

from .runs import Record


def draw(rows: Sequence[Record], path: Path) -> None:
    """Draw the best rates of all arms.

    Args:
        rows: What the benchmark returns; a key "x4" is a length, "50%" a share of distractors.
        path: The .png file to write.
    """
    best = [row for row in rows if row["arm"].endswith(", best rate")]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for row in best:
        name = row["arm"].removesuffix(", best rate")
        lengths = {int(key[1:]): value for key, value in row.items() if key.startswith("x")}
        shares = {int(key[:-1]): value for key, value in row.items() if key.endswith("%")}
        axes[0].plot(list(lengths), list(lengths.values()), marker="o", label=name)
        axes[1].plot(list(shares), list(shares.values()), marker="o", label=name)
    axes[0].set(xscale="log", xlabel="length, as a multiple of the longest trained on", ylabel="accuracy")
    axes[1].set(xlabel="share of distractors in percent", ylim=(0, 1.02))
    axes[0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)

"""The picture of the distractor benchmark: accuracy against length, and against the share of distractors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from structformer.tokenize.files import replacing

from .runs import Record


def draw(rows: Sequence[Record], path: Path) -> None:
    """Draw the mean scores of all arms.

    Args:
        rows: What the benchmark returns; data that ends in "x4" is of a length, in "50%" of a share of distractors.
        path: The .png file to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for arm in dict.fromkeys(row["arm"] for row in rows):
        found = {row["data"].rpartition(" ")[2]: row["mean"] for row in rows if row["arm"] == arm}
        lengths = {int(key[1:]): value for key, value in found.items() if key.startswith("x")}
        shares = {int(key[:-1]): value for key, value in found.items() if key.endswith("%")}
        axes[0].plot(list(lengths), list(lengths.values()), marker="o", label=arm)
        axes[1].plot(list(shares), list(shares.values()), marker="o", label=arm)
    axes[0].set(
        xscale="log", xlabel="length, as a multiple of the longest trained on", ylabel="answers right, %"
    )
    axes[1].set(xlabel="share of distractors in percent", ylim=(0, 102))
    axes[0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)

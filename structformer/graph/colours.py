"""The colours of a picture: a palette for everyone, and what each token's label makes of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from structformer.graph.labels import as_array, label_codes

if TYPE_CHECKING:
    from structformer.graph import TokenGraph

# Okabe and Ito's palette (2008), told apart with every common colour vision deficiency; black,
# the eighth, is left to text. Beyond seven classes the marker changes too.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
UNKNOWN = "#B8BCC2"
OTHERS = "#6B7280"
_MOST_NUMBERED_CLASSES = 30


@dataclass(frozen=True)
class Colouring:
    """The labels of a picture's tokens, as classes or as a scale.

    Attributes:
        codes: `[tokens]` class of each token, −1 for unknown; sources of a bipartite graph follow its targets.
        classes: The classes in order, as texts.
        values: `[tokens]` numbers, NaN for unknown, if they are to be read as a scale; otherwise None.
    """

    codes: Int[np.ndarray, "tokens"]
    classes: tuple[str, ...]
    values: Float[np.ndarray, "tokens"] | None = None

    @property
    def labelled(self) -> bool:
        """Whether any token's label is known."""
        return bool(self.classes)

    def commonest(self, most: int = len(PALETTE)) -> "Colouring":
        """The same with at most `most` classes, and one more that the rarer ones share."""
        if len(self.classes) <= most:
            return self
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.classes))
        kept = np.sort(np.argsort(-counts, kind="stable")[:most])
        place = np.full(len(self.classes) + 1, most)
        place[kept], place[-1] = np.arange(most), -1
        rare = len(self.classes) - most
        others = "1 other class" if rare == 1 else f"{rare} other classes"
        return Colouring(place[self.codes], (*(self.classes[i] for i in kept), others), self.values)

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest number of a scale."""
        known = np.zeros(1) if self.values is None else self.values[np.isfinite(self.values)]
        return float(known.min()), float(known.max())

    def share(self, values: Float[np.ndarray, "any"]) -> Float[np.ndarray, "any"]:
        """Where on the scale numbers are, from 0 to 1; NaN stays."""
        low, high = self.limits
        return (values - low) / ((high - low) or 1.0)

    def palette(self) -> list[str]:
        """A colour for each class; the eighth and last is that of the others."""
        return [*PALETTE, OTHERS][: len(self.classes)]


def colouring(graph: "TokenGraph", labels: Any = None) -> Colouring:
    """Read `labels`, or the graph's own, and those of a bipartite graph's sources.

    Floats of more than seven values and other numbers of more than thirty make a scale.

    Raises:
        ValueError: If the number of labels does not fit.
    """
    sources = graph.num_sources if graph.is_bipartite else 0
    together: list[Any] = []
    for own, count, argument in (
        (graph.labels if labels is None else labels, graph.num_targets, "labels"),
        (graph.source_labels if sources else None, sources, "source_labels"),
    ):
        if own is not None:
            label_codes(own, count, argument)
        together += [None] * count if own is None else as_array(own).tolist()
    codes, classes = label_codes(np.array(together, dtype=object), len(together))
    texts = tuple(str(value) for value in classes)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in classes)
    whole = all(isinstance(value, int) for value in classes)
    if not numbers or len(classes) <= (_MOST_NUMBERED_CLASSES if whole else len(PALETTE)):
        return Colouring(codes, texts)
    # One place more, so that −1 finds it.
    values = np.array([*map(float, classes), np.nan])[codes]
    values[~np.isfinite(values)] = np.nan
    return Colouring(codes, texts, values)


def shorten(text: str, most: int = 28) -> str:
    """A name on one line of at most `most` characters."""
    text = " ".join(str(text).split())
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"

"""Where a statement speaks of a table: which of its words stand in which cells and headers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .tabfact_tables import ReadTable
from .tabfact_words import Word

# A cell is meant by a stretch of words that makes up so much of it.
_COVERED = 0.45
# What a word adds to the weight of a stretch: numbers and the commonest words say little.
_WEIGHT = {"content": 1.0, "number": 0.5, "common": 0.1}


@dataclass(frozen=True)
class Link:
    """A stretch of a statement, and the cells that have it.

    Attributes:
        start: Its first word.
        end: The word after its last.
        cells: Rows and columns, in ascending order.
        covered: How much of the best cell's words it has, by weight.
        number: Whether it is a number only.
    """

    start: int
    end: int
    cells: tuple[tuple[int, int], ...]
    covered: float
    number: bool

    @cached_property
    def rows(self) -> frozenset[int]:
        """Rows of the cells."""
        return frozenset(row for row, _ in self.cells)

    @cached_property
    def columns(self) -> frozenset[int]:
        """Columns of the cells."""
        return frozenset(column for _, column in self.cells)


@dataclass(frozen=True)
class Linked:
    """A statement with its links into a table.

    Attributes:
        words: Of the statement.
        texts: Links by words, in the statement's order.
        numbers: Links by numbers outside of these.
        loose: Places of the numbers that no cell has.
        mentions: How much of each column's name the statement has, from 0 to 1.
        headed: Places of words that columns' names have.
    """

    words: tuple[Word, ...]
    texts: tuple[Link, ...]
    numbers: tuple[Link, ...]
    loose: tuple[int, ...]
    mentions: tuple[float, ...]
    headed: frozenset[int]

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """All links, in the statement's order."""
        return tuple(sorted(self.texts + self.numbers, key=lambda link: link.start))

    @cached_property
    def inside(self) -> frozenset[int]:
        """Places of the words in links by words."""
        return frozenset(place for link in self.texts for place in range(link.start, link.end))


def link(statement: tuple[Word, ...], table: ReadTable) -> Linked:
    """Find what a statement says of a table's cells and columns."""
    texts = _texts(statement, table)
    taken = {place for one in texts for place in range(one.start, one.end)}
    numbers, loose = [], []
    for place, word in enumerate(statement):
        if word.number is None or place in taken:
            continue
        keys = table.index.get(word.stem, ())
        cells = tuple(sorted(cell for key in keys for cell in table.keys[key]))
        if cells:
            whole = (word.stem,) in table.keys
            numbers.append(Link(place, place + 1, cells, 1.0 if whole else 0.5, True))
        else:
            loose.append(place)
    mentions, headed = _headers(statement, table)
    return Linked(statement, texts, tuple(numbers), tuple(loose), mentions, headed)


def weight(word: Word) -> float:
    """Return how much a word says."""
    return _WEIGHT["number" if word.number is not None else "content" if word.content else "common"]


def _texts(statement: tuple[Word, ...], table: ReadTable) -> tuple[Link, ...]:
    stems = tuple(word.stem for word in statement)
    weights = {word.stem: weight(word) for word in statement}
    candidates = {
        key
        for word in statement
        for key in table.index.get(word.stem, ())
        if word.content or (len(key) > 1 and _figures(key))
    }
    best: dict[int, float] = {}
    found: list[tuple[int, int, tuple[str, ...], float]] = []
    for key in candidates:
        start, length = longest_common(stems, key)
        said = sum(weights[part] for part in key if part in weights and part in stems[start : start + length])
        total = sum(weights.get(part, _guess(part)) for part in key)
        named = any(statement[place].content for place in range(start, start + length))
        # Of scores, seasons and the like all figures must be there.
        if (named and said >= _COVERED * total) or length == len(key):
            found.append((start, start + length, key, said / total))
            for place in range(start, start + length):
                best[place] = max(best.get(place, 0.0), length + said / total)
    spans: dict[tuple[int, int], list[tuple[tuple[str, ...], float]]] = {}
    for start, end, key, covered in found:
        # A stretch inside a longer one means what the longer one means.
        if any(end - start + covered >= best[place] - 1e-9 for place in range(start, end)):
            spans.setdefault((start, end), []).append((key, covered))
    return tuple(
        Link(
            *span,
            tuple(sorted(cell for key, _ in keys for cell in table.keys[key])),
            max(covered for _, covered in keys),
            False,
        )
        for span, keys in sorted(spans.items())
    )


def _figures(key: tuple[str, ...]) -> bool:
    return all(part[0].isdigit() for part in key)


def _guess(stem: str) -> float:
    if stem[0].isdigit():
        return _WEIGHT["number"]
    return _WEIGHT["content" if Word(stem).content else "common"]


def longest_common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[int, int]:
    """Return where the longest stretch that two sequences share begins in the first, and its length."""
    start = length = 0
    before = [0] * (len(b) + 1)
    for i, left in enumerate(a):
        here = [0] * (len(b) + 1)
        for j, right in enumerate(b):
            if left == right:
                here[j + 1] = before[j] + 1
                if here[j + 1] > length:
                    start, length = i + 1 - here[j + 1], here[j + 1]
        before = here
    return start, length


def _headers(statement: tuple[Word, ...], table: ReadTable) -> tuple[tuple[float, ...], frozenset[int]]:
    place = {word.stem: at for at, word in enumerate(statement) if word.number is None}
    mentions, headed = [], set()
    for header in table.headers:
        total = sum(map(weight, header))
        said = [word for word in header if word.stem in place and weight(word) == _WEIGHT["content"]]
        mentions.append(sum(map(weight, said)) / total if total else 0.0)
        headed |= {place[word.stem] for word in said}
    return tuple(mentions), frozenset(headed)

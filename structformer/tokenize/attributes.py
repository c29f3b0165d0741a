"""Attributes of nodes and edges, of any type, as one numeric matrix."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from structformer.tokenize.attribute import Attribute, fit_attribute
from structformer.tokenize.attribute_values import Items


@dataclass(frozen=True)
class Column:
    """The values of one attribute.

    Attributes:
        values: a list with one Python value an item (None where it is missing), or a numeric array `[n, F]`.
        rows: the items the values belong to, when not all items can have them (a node type's own features);
            the others get zeros.
    """

    values: list[Any] | np.ndarray
    rows: Int[np.ndarray, "items"] | None = None


@dataclass(frozen=True)
class AttributeEncoder:
    """Turns named columns into `[items, width]` float32, attributes in alphabetical order.

    How a column is written is decided on training data; `Attribute` states the rules.
    """

    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def fit(cls, columns: Mapping[str, Column], items: Items) -> AttributeEncoder:
        """Learns categories and scales from the training values, by attribute name."""
        return cls(
            tuple(
                fit_attribute(name, columns[name].values, items.at(columns[name].rows))
                for name in sorted(columns)
            )
        )

    @property
    def width(self) -> int:
        """Number of columns written."""
        return sum(attribute.width for attribute in self.attributes)

    @property
    def feature_names(self) -> list[str]:
        """What each written column says, such as `club=Officer` or `age is missing`."""
        return [name for attribute in self.attributes for name in attribute.feature_names]

    def transform(self, columns: Mapping[str, Column], items: Items) -> Float[np.ndarray, "items width"]:
        """Writes the values of new items.

        Raises:
            ValueError: if attributes seen in training are absent altogether, or a value cannot be
                written; the message names attribute and item.

        Warns:
            UserWarning: for attributes not seen in training; they are ignored.
        """
        known = [attribute.name for attribute in self.attributes]
        missing = [name for name in known if name not in columns]
        if missing and len(items):
            raise ValueError(f"the {items.what} attributes {missing} of the training graphs are missing")
        extra = sorted(set(columns) - set(known))
        if extra:
            warnings.warn(f"{items.what} attributes not seen in training are ignored: {extra}", stacklevel=4)
        blocks = [self._block(attribute, columns.get(attribute.name), items) for attribute in self.attributes]
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate([np.zeros((len(items), 0), np.float32), *blocks], axis=1)

    @staticmethod
    def _block(attribute: Attribute, column: Column | None, items: Items) -> np.ndarray:
        if column is None:
            return np.zeros((0, attribute.width), np.float32)
        block = attribute.encode(column.values, items.at(column.rows))
        if column.rows is None:
            return block
        spread = np.zeros((len(items), attribute.width), np.float32)
        spread[column.rows] = block
        return spread

    def to_dict(self) -> dict[str, Any]:
        """The fitted state, JSON-ready."""
        return {"attributes": [attribute.to_dict() for attribute in self.attributes]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> AttributeEncoder:
        """The inverse of `to_dict`."""
        return cls(tuple(Attribute.from_dict(item) for item in state["attributes"]))


def join_columns(parts: Sequence[Mapping[str, Column]], sizes: Sequence[int], what: str) -> dict[str, Column]:
    """The columns of several graphs as one, in the graphs' order.

    An attribute that one graph lacks is missing there; a numeric matrix must be in all graphs or in none.

    Args:
        parts: the columns of each graph.
        sizes: the items (nodes or edges) of each graph.
        what: "node" or "edge", for error messages.
    """
    names = sorted({name for part in parts for name in part})
    return {name: _join(name, [part.get(name) for part in parts], sizes, what) for name in names}


def _join(name: str, parts: Sequence[Column | None], sizes: Sequence[int], what: str) -> Column:
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    present = [part for part in parts if part is not None]
    if any(isinstance(part.values, list) for part in present):
        joined: list[Any] = []
        for part, size in zip(parts, sizes, strict=True):
            joined.extend([None] * size if part is None else part.values)
        return Column(joined)
    owned = any(part.rows is not None for part in present)
    widths = {part.values.shape[1] for part in present if isinstance(part.values, np.ndarray)}
    arrays: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    offset = 0
    for index, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        if part is None and size and not owned:
            raise ValueError(f"graph {index} has no {what} attribute {name!r}, but other graphs have")
        if part is not None:
            values = np.asarray(part.values)
            if len(widths) > 1:
                first = np.asarray(present[0].values).shape[1]
                if values.shape[1] != first:
                    raise ValueError(
                        f"graph {index}: {what} attribute {name!r} has {values.shape[1]} columns, "
                        f"but {first} in the first graph"
                    )
            arrays.append(values)
            rows.append((np.arange(size) if part.rows is None else part.rows) + offset)
        offset += size
    return Column(np.concatenate(arrays), np.concatenate(rows) if owned else None)

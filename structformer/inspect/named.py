"""The tokens that something is said about: whose they are, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class NamedTokens:
    """Tokens of one or several sets under the data's own names.

    Attributes:
        ptr: Boundaries of the sets; of a table the sets are its rows, and the tokens of each are its cells.
        names: One name for each token, for a cell that of its column; None where the data has none.
        set_names: One name for each set; None where the data has none.
        columns: Of a table the names of its columns.
    """

    ptr: Int[np.ndarray, "boundaries"]
    names: list[str] | None = None
    set_names: list[str] | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, values, wanted in (
            ("names", self.names, len(self)),
            ("set_names", self.set_names, self.sets),
        ):
            if values is not None and len(values) != wanted:
                raise ValueError(f"{name} must have {wanted} entries (got {len(values)})")

    def __len__(self) -> int:
        return int(self.ptr[-1])

    @property
    def sets(self) -> int:
        """How many sets there are."""
        return len(self.ptr) - 1

    @cached_property
    def set_index(self) -> Int[np.ndarray, "tokens"]:
        """The set of each token."""
        return np.repeat(np.arange(self.sets), np.diff(self.ptr))

    def name(self, token: int, kind: str = "token") -> str:
        """Return what a token is called; without names it is its kind and its number within its set."""
        if self.names is not None:
            return self.names[token]
        return f"{kind} {token - int(self.ptr[self.set_index[token]])}"

    def frame(self, token: Int[np.ndarray, "rows"]) -> pd.DataFrame:
        """Return a table with a row for each of some tokens: ``set``, ``token``, ``name`` (where there are any)."""
        told = pd.DataFrame({"set": self.set_index[token], "token": token})
        if self.names is not None:
            told["name"] = pd.Series(np.array(self.names, dtype=object)[token], dtype=object)
        return told

    def by_set(
        self, values: Float[np.ndarray, "steps tokens slots"]
    ) -> Float[np.ndarray, "steps sets slots"]:
        """Return sums over the tokens of each set."""
        before = np.zeros((len(values), len(self) + 1, values.shape[2]))
        np.cumsum(values, axis=1, out=before[:, 1:])
        return before[:, self.ptr[1:]] - before[:, self.ptr[:-1]]

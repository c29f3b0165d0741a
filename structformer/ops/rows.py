"""How the normalisers see rows: heads first, and as a dense block where all rows are equally long."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from structformer.ops.segment import reduce_rows, row_index


@dataclass(frozen=True)
class Rows:
    """The layout in which one call works.

    Scores `[edges]` or `[edges, heads]` become `[heads, edges]`, or `[heads, rows, degree]` when every row
    has the same number of entries: dense reductions are then several times faster than segmented ones.
    """

    rowptr: Tensor
    num_edges: int
    degree: int | None

    @classmethod
    def of(cls, rowptr: Tensor, num_edges: int) -> Rows:
        """Look at the lengths of the rows; on a GPU they count as ragged, as looking would stall it."""
        num_rows = rowptr.numel() - 1
        degree = None
        if rowptr.device.type == "cpu" and num_edges and num_edges % num_rows == 0:
            step = num_edges // num_rows
            if torch.equal(rowptr, torch.arange(0, num_edges + 1, step, dtype=rowptr.dtype)):
                degree = step
        return cls(rowptr, num_edges, degree)

    @cached_property
    def index(self) -> Tensor:
        """`[edges]` row of each entry."""
        return row_index(self.rowptr, self.num_edges)

    def enter(self, scores: Tensor) -> Tensor:
        """Bring scores into the working layout."""
        return self.enter_heads(scores[None] if scores.ndim == 1 else scores.t())

    def enter_heads(self, x: Tensor) -> Tensor:
        """The same for scores [heads, edges]."""
        return x if self.degree is None else x.unflatten(1, (-1, self.degree))

    def leave(self, x: Tensor, ndim: int) -> Tensor:
        """Undo `enter`; each head's entries stay side by side in memory, as the products want them."""
        x = self.leave_heads(x)
        return x[0] if ndim == 1 else x.t()

    def leave_heads(self, x: Tensor) -> Tensor:
        """Undo `enter_heads`."""
        return x if self.degree is None else x.flatten(1)

    def filled(self, x: Tensor, value: float) -> Tensor:
        """One value for every row, in the shape of `sum` and `max`."""
        num_rows = self.rowptr.numel() - 1
        return x.new_full((x.shape[0], num_rows) if self.degree is None else (x.shape[0], num_rows, 1), value)

    def sum(self, x: Tensor) -> Tensor:
        """Sum each row; the result goes through `spread` to meet entries again."""
        return reduce_rows(x, self.rowptr, "sum", dim=1) if self.degree is None else x.sum(-1, keepdim=True)

    def max(self, x: Tensor) -> Tensor:
        """Largest of each row."""
        return reduce_rows(x, self.rowptr, "max", dim=1) if self.degree is None else x.amax(-1, keepdim=True)

    def spread(self, y: Tensor) -> Tensor:
        """Give every entry its row's value (as a broadcast where that is possible)."""
        return y.index_select(1, self.index) if self.degree is None else y

    def per_head(self, values: Tensor) -> Tensor:
        """Shape one value, or one value a head, to broadcast against both layouts."""
        return values.reshape(-1, *[1] * (1 if self.degree is None else 2))

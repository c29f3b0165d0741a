"""TableEncoder: rows of a table as vectors, learned without labels."""

from __future__ import annotations

import copy
import itertools
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.estimators.rows import grid
from structformer.estimators.table_base import Batch, Rows, TableEstimator
from structformer.estimators.table_networks import ask
from structformer.models.table import RowMemory, TableModel, TableOutput
from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet
from structformer.training.objectives import agreement_loss


class TableEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableEstimator):
    """Encode the rows of a table, trained on the rows alone.

    Part of a row's cells is replaced by cells of other rows or hidden; from what is left the row says what stood
    there, and so does each such cell from what it heard of the others, and two such views of a row must stay closer to
    each other than to other rows (SCARF, arXiv 2106.15147). Numbers and categories are said again; texts take part in
    the views only. Rows listen to the training rows most like them, as in :class:`StructFormerClassifier`; cells listen
    to those that tell most of them, so that `column_graph` shows which columns depend on which.

    The parameters are those of :class:`StructFormerRegressor`.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> import structformer as sf
        >>> frame = load_iris(as_frame=True).data
        >>> sf.TableEncoder(width=32, epochs=3, random_state=0).fit_transform(frame).shape
        (150, 32)
    """

    CORRUPTED = 0.3

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train on the rows of a table.

        Args:
            X: DataFrame or array [rows, columns].
            y: Ignored; there for scikit-learn's pipelines.
            sample_weight: Importance of each row's cells in the loss; rows of weight 0 are left out.

        Raises:
            ValueError: The table cannot be used; the message names the culprit.
        """
        return self._fit_table(X, y, sample_weight, None)

    def transform(self, X: Any) -> Float[np.ndarray, "rows width"]:
        """Return one vector a row, in float64.

        Raises:
            ValueError: The table cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return torch.cat([out.rows for (out,) in self._run(X)]).numpy()

    @property
    def _n_features_out(self) -> int:
        return int(self._shape["config"]["width"])

    def _learn_target(self, y: Any, rows: int, weight: Tensor | None) -> np.ndarray:
        return np.zeros((rows, 0), dtype=np.float32)

    def _members(self, cells: TokenSet) -> int:
        if self.members not in (None, 1):
            raise ValueError(
                f"members must be None or 1 for an encoder, which is one network (got {self.members})"
            )
        return 1

    def _outputs(self) -> int:
        # With texts alone nothing is said again, but no layer may be empty.
        return max(1, sum(_sizes(self.tokenizer_.columns_)))

    def _cell_outputs(self) -> list[int]:
        return _sizes(self.tokenizer_.columns_)

    def _label_features(self, target: Tensor) -> Tensor:
        return target.float()

    def _source_labels(self) -> Any:
        return None

    def _batch_loss(self, model: nn.Module, item: Batch) -> Tensor:
        cells, labels, _, weight = item
        columns = self.tokenizer_.columns_
        views = [corrupt_cells(cells, self.CORRUPTED) for _ in range(2)]
        outs = [model(view, labels=labels) for view, _ in views]
        loss = 0.5 * agreement_loss(outs[0].rows, outs[1].rows)
        for out, (_, changed) in zip(outs, views, strict=True):
            for said in _both(out):
                total, count = reconstruction(said, cells, changed, columns, weight)
                loss = loss + 0.5 * total / count.clamp(min=1e-9)
            loss = loss + 0.5 * out.cells.loss
        return loss

    def _validation_score(self, model: TableModel, held: Rows, memory: RowMemory) -> float:
        cells, _, weight = held
        # The same cells are hidden every time, so that scores of different epochs compare.
        view, changed = corrupt_cells(cells, self.CORRUPTED, torch.Generator().manual_seed(0))
        columns, first = self.tokenizer_.columns_, 0
        total, count = torch.zeros(2)
        for (out,) in ask([model], view, columns, [memory]):
            rows = torch.arange(first, first + len(out.outputs))
            known = None if weight is None else weight[rows]
            for said in _both(out):
                part = reconstruction(said.cpu(), cells.select(rows), changed[rows], columns, known)
                total, count = total + part[0], count + part[1]
            first += len(rows)
        return -float(total / count.clamp(min=1e-9))


def _both(out: TableOutput) -> list[Tensor]:
    """What the rows say of their cells, and what the cells say of themselves."""
    return [out.outputs] if out.said is None else [out.outputs, out.said]


def corrupt_cells(
    cells: TokenSet, share: float, generator: torch.Generator | None = None
) -> tuple[TokenSet, Bool[Tensor, "rows columns"]]:
    """Return the table with a share of its cells changed, half hidden, half from other rows; and which."""
    x, code = grid(cells)
    changed = torch.rand(x.shape, generator=generator, device=x.device) < share
    other = torch.randint(len(x), x.shape, generator=generator, device=x.device)
    hidden = changed & (torch.rand(x.shape, generator=generator, device=x.device) < 0.5)
    x = torch.where(changed, x.gather(0, other), x).masked_fill(hidden, 0.0)
    code = torch.where(changed, code.gather(0, other), code).masked_fill(hidden, 0)
    view = copy.copy(cells)
    view["x"], view["code"] = x.reshape(-1, 1), code.flatten()
    return view, changed


def reconstruction(
    outputs: Tensor,
    cells: TokenSet,
    changed: Bool[Tensor, "rows columns"],
    columns: tuple[Column, ...],
    weight: Tensor | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the loss summed over the changed cells, and their number; rows count by their weights.

    The loss of a number is its squared error, that of a category its cross-entropy; texts have none.
    """
    x, code = grid(cells)
    total, count = outputs.new_zeros(()), outputs.new_zeros(())
    sizes = _sizes(columns)
    starts = itertools.accumulate(sizes, initial=0)
    for place, (column, start, size) in enumerate(zip(columns, starts, sizes, strict=False)):
        if not size:
            continue
        said = outputs[:, start : start + size]
        present = (changed[:, place] & (code[:, place] > 0)).to(outputs.dtype)
        if weight is not None:
            present = present * weight
        if column.kind == "numeric":
            losses = (said[:, 0] - x[:, place]).square()
        else:
            losses = F.cross_entropy(said, code[:, place], reduction="none")
        total, count = total + (losses * present).sum(), count + present.sum()
    return total, count


def _sizes(columns: tuple[Column, ...]) -> list[int]:
    sizes = {
        "numeric": lambda column: 1,
        "categorical": lambda column: column.cardinality,
        "text": lambda column: 0,
    }
    return [sizes[column.kind](column) for column in columns]

"""TableEncoder: rows of a table as vectors, learned without labels."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.estimators.table_base import Batch, TableEstimator
from structformer.models.table import RowMemory, TableModel
from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet
from structformer.training.objectives import agreement_loss


class TableEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, TableEstimator):
    """Encode the rows of a table, trained on the rows alone.

    Part of a row's cells is replaced by cells of other rows or hidden; from what is left the model says what
    stood there, and two such views of a row must stay closer to each other than to other rows (SCARF,
    arXiv 2106.15147). Numbers and categories are said again; texts take part in the views only. Rows listen to
    the training rows most like them, as in :class:`StructFormerClassifier`.

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
            sample_weight: Importance of each row in the loss.

        Raises:
            ValueError: The table cannot be used; the message names the culprit.
        """
        return self._fit_table(X, None, sample_weight, None, stratify=False)

    def transform(self, X: Any) -> np.ndarray:
        """Return one vector a row, [rows, width] float32."""
        rows = [out.rows for out in self._run(X)]
        return torch.cat(rows).float().numpy() if rows else np.empty((0, self._n_features_out), np.float32)

    @property
    def _n_features_out(self) -> int:
        return int(self._shape["config"]["width"])

    def _outputs(self) -> int:
        return sum(_sizes(self.tokenizer_.columns_))

    def _label_features(self, target: Tensor) -> Tensor:
        return target.float()

    def _source_labels(self) -> Any:
        return None

    def _batch_loss(self, model: nn.Module, item: Batch) -> Tensor:
        cells, labels, _, weight = item
        columns = self.tokenizer_.columns_
        views = [corrupt_cells(cells, self.CORRUPTED) for _ in range(2)]
        outs = [model(view, labels=labels) for view, _ in views]
        said = [
            reconstruction(out.outputs, cells, changed, columns, weight)
            for out, (_, changed) in zip(outs, views, strict=True)
        ]
        return (said[0] + said[1]) / 2 + 0.5 * agreement_loss(outs[0].rows, outs[1].rows)

    def _validation_score(
        self, model: TableModel, cells: TokenSet, target: Tensor, memory: RowMemory
    ) -> float:
        # The same cells are hidden every time, so that scores of different epochs compare.
        view, changed = corrupt_cells(cells, self.CORRUPTED, torch.Generator().manual_seed(0))
        out = model(view, memory=memory)
        return -float(reconstruction(out.outputs, cells, changed, self.tokenizer_.columns_, None))


def corrupt_cells(
    cells: TokenSet, share: float, generator: torch.Generator | None = None
) -> tuple[TokenSet, Bool[Tensor, "rows columns"]]:
    """Return the table with a share of its cells changed, and which ones: half hidden, half from other rows."""
    rows = cells.num_sets
    x, code = cells.x.view(rows, -1), cells.code.view(rows, -1)
    changed = torch.rand(x.shape, generator=generator, device=x.device) < share
    other = torch.randint(rows, x.shape, generator=generator, device=x.device)
    hidden = changed & (torch.rand(x.shape, generator=generator, device=x.device) < 0.5)
    x = torch.where(changed, x.gather(0, other), x).masked_fill(hidden, 0.0)
    code = torch.where(changed, code.gather(0, other), code).masked_fill(hidden, 0)
    view = cells.clone()
    view.x, view.code = x.reshape(-1, 1), code.reshape(-1)
    return view, changed


def reconstruction(
    outputs: Tensor,
    cells: TokenSet,
    changed: Bool[Tensor, "rows columns"],
    columns: tuple[Column, ...],
    weight: Tensor | None,
) -> Tensor:
    """Return the mean loss over the changed cells: squared error for numbers, cross-entropy for categories."""
    rows = cells.num_sets
    x, code = cells.x.view(rows, -1), cells.code.view(rows, -1)
    total, count = outputs.new_zeros(()), outputs.new_zeros(())
    for place, (column, said) in enumerate(zip(columns, outputs.split(_sizes(columns), dim=1), strict=True)):
        if column.kind == "text":
            continue
        present = (changed[:, place] & (code[:, place] > 0)).to(outputs.dtype)
        if weight is not None:
            present = present * weight
        if column.kind == "numeric":
            losses = (said[:, 0] - x[:, place]).square()
        else:
            losses = F.cross_entropy(said, code[:, place], reduction="none")
        total, count = total + (losses * present).sum(), count + present.sum()
    return total / count.clamp(min=1e-9)


def _sizes(columns: tuple[Column, ...]) -> list[int]:
    sizes = {
        "numeric": lambda column: 1,
        "categorical": lambda column: column.cardinality,
        "text": lambda column: 0,
    }
    return [sizes[column.kind](column) for column in columns]

"""What the table estimators share: reading, training, the memory of training rows, learned graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import (
    _check_feature_names,  # pyright: ignore[reportUnknownVariableType]
    check_is_fitted,
)
from torch import Tensor, nn

from structformer.estimators.base import (
    State,
    StructFormerEstimator,
    exact,
    run_training,
    seeded,
)
from structformer.estimators.rows import batches_of_rows, canonical_order, column_weights
from structformer.estimators.targets import importance
from structformer.graph import TokenGraph
from structformer.models.table import RowMemory, TableModel, TableModelConfig, TableOutput
from structformer.tokenize.tables import TableTokenizer
from structformer.tokens import TokenSet
from structformer.training import Callback, TrainingConfig, index_loader

Batch = tuple[TokenSet, Tensor, Tensor, Tensor | None]


class TableEstimator(StructFormerEstimator):
    """What classification and regression of tables share."""

    def __init__(
        self,
        *,
        width: int = 64,
        cell_steps: int = 1,
        row_steps: int = 1,
        heads: int = 4,
        cell_neighbors: int = 8,
        row_neighbors: int = 32,
        dropout: float = 0.1,
        epochs: int | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        batch_size: int | None = None,
        patience: int | None = 20,
        validation_fraction: float = 0.15,
        max_time: float | None = None,
        infinite: str = "error",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.width = width
        self.cell_steps = cell_steps
        self.row_steps = row_steps
        self.heads = heads
        self.cell_neighbors = cell_neighbors
        self.row_neighbors = row_neighbors
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.max_time = max_time
        self.infinite = infinite
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    # What classification and regression do differently.
    def _label_features(self, target: Tensor) -> Tensor:
        raise NotImplementedError

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _batch_loss(self, model: nn.Module, item: Batch) -> Tensor:
        cells, labels, target, weight = item
        return self._loss(model(cells, labels=labels).outputs, target, weight)

    def _validation_score(
        self, model: TableModel, cells: TokenSet, target: Tensor, memory: RowMemory
    ) -> float:
        outputs = torch.cat([out.outputs for out in run_rows(model, cells, memory)])
        return -float(self._loss(outputs, target, None))

    def _outputs(self) -> int:
        raise NotImplementedError

    def _fit_table(
        self,
        X: Any,
        target: np.ndarray | None,
        sample_weight: Any,
        held_out: tuple[Any, np.ndarray] | None,
        stratify: bool,
    ) -> Self:
        seed = self._seed()
        self.tokenizer_ = TableTokenizer(infinite=self.infinite)  # pyright: ignore[reportArgumentType]
        cells = self.tokenizer_.fit_transform(X)
        if target is None:
            target = np.zeros((cells.num_sets, 0), dtype=np.float32)
        self.n_features_in_ = len(self.tokenizer_.feature_names_)
        _check_feature_names(self, X, reset=True)
        weight = importance(sample_weight, cells.num_sets, "row")
        # Training sees the rows in an order of their own, so that the order they came in changes nothing.
        order = canonical_order(cells, self.tokenizer_.columns_, target, weight)
        cells, y = cells.select(order), torch.from_numpy(target)[order]
        weight = None if weight is None else weight[order]
        names = [str(name) for name in cells.set_names or range(cells.num_sets)]
        train = torch.arange(cells.num_sets)
        held: tuple[TokenSet, Tensor] | None = None
        if held_out is not None:
            held = (self.tokenizer_.transform(held_out[0]), torch.from_numpy(held_out[1]))
        elif self.validation_fraction and self.patience is not None and cells.num_sets >= 20:
            train, part = self._split(y, stratify, seed)
            held = (cells.select(part), y[part])
        config = TableModelConfig(
            width=self.width,
            cell_steps=self.cell_steps,
            row_steps=self.row_steps,
            heads=self.heads,
            cell_neighbors=self.cell_neighbors,
            row_neighbors=self.row_neighbors,
            dropout=self.dropout,
        )
        text_features = 0 if cells.get("text") is None else cells.text.shape[1]
        features = self._label_features(y)
        self._build(config, features.shape[1], text_features, seed)
        self._train(cells.select(train), y[train], None if weight is None else weight[train], held, seed)
        # All rows are listened to at prediction, those held out for early stopping included.
        self._remember(cells, features, names)
        return self

    def _split(self, y: Tensor, stratify: bool, seed: int) -> tuple[Tensor, Tensor]:
        labels = y.numpy()
        if stratify and np.bincount(labels).min(initial=2) < 2:
            stratify = False
        size = max(int(round(len(y) * self.validation_fraction)), len(np.unique(labels)) if stratify else 1)
        train, part = train_test_split(
            np.arange(len(y)), test_size=size, random_state=seed, stratify=labels if stratify else None
        )
        return torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(part))

    def _build(self, config: TableModelConfig, label_features: int, text_features: int, seed: int) -> None:
        columns = self.tokenizer_.columns_
        self._shape = {"config": asdict(config), "labels": label_features, "text": text_features}
        self.model_: TableModel = seeded(  # pyright: ignore[reportAttributeAccessIssue]
            seed, lambda: TableModel(columns, self._outputs(), label_features, config, text_features)
        )

    def _train(
        self,
        cells: TokenSet,
        y: Tensor,
        weight: Tensor | None,
        held: tuple[TokenSet, Tensor] | None,
        seed: int,
    ) -> None:
        rows = cells.num_sets
        labels = self._label_features(y)

        def batch(index: Tensor) -> Batch:
            return cells.select(index), labels[index], y[index], None if weight is None else weight[index]

        def validate(model: nn.Module) -> float:
            assert held is not None and isinstance(model, TableModel)
            return self._validation_score(model, *held, memory_of(model, cells, labels))

        size = self.batch_size or min(512, max(64, rows // 4))
        self.history_ = run_training(
            self.model_,
            index_loader(rows, size, seed, batch),
            self._batch_loss,
            TrainingConfig(
                # Large tables say as much in fewer passes.
                epochs=self.epochs or min(100, max(10, 300_000 // rows)),
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience if held is not None else None,
                max_time=self.max_time,
                device=self.device,
                average=0.97,
            ),
            seed,
            validate=None if held is None else validate,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )

    def _remember(self, cells: TokenSet, labels: Tensor, names: list[str]) -> None:
        self._exact = exact(self.model_)
        self.memory_ = memory_of(self._exact, cells, labels.double())
        self.row_names_ = names

    def _run(self, X: Any) -> Iterator[TableOutput]:
        check_is_fitted(self, "model_")
        model = getattr(self, "_exact", None)
        if model is None:
            model = self._exact = exact(self.model_)
        yield from run_rows(model, self._cells(X), self.memory_)

    def _cells(self, X: Any) -> TokenSet:
        check_is_fitted(self, "model_")
        return self.tokenizer_.transform(X)

    def _predict_outputs(self, X: Any) -> np.ndarray:
        outputs = [out.outputs for out in self._run(X)]
        return torch.cat(outputs).numpy() if outputs else np.empty((0, self._outputs()))

    def learned_graph(self, X: Any) -> TokenGraph:
        """Return which training rows each row of ``X`` listens to, and how much.

        Targets are the rows of ``X``, sources the training rows; both carry the names of their index. With several
        row steps the graph is that of the last, and ``earlier`` holds those before it.
        """
        cells = self._cells(X)
        names = [str(name) for name in cells.set_names or range(cells.num_sets)]
        steps: list[list[TokenGraph]] = [[] for _ in range(self.row_steps)]
        for out in self._run(X):
            for step, graph in enumerate(out.row_graphs):
                steps[step].append(graph)
        graphs = [self._joined(parts, names) for parts in steps]
        last = graphs[-1]
        last.earlier = tuple(graphs[:-1])
        return last

    def _joined(self, parts: list[TokenGraph], names: list[str]) -> TokenGraph:
        rows = len(self.row_names_)
        degrees = [graph.rowptr.diff() for graph in parts] or [torch.zeros(0, dtype=torch.long)]
        rowptr = torch.cat([torch.zeros(1, dtype=torch.long), torch.cat(degrees).cumsum(0)])
        col = torch.cat([graph.col for graph in parts] or [torch.zeros(0, dtype=torch.long)])
        weights = [graph.weight for graph in parts if graph.weight is not None]
        return TokenGraph(
            rowptr=rowptr,
            col=col,
            num_sources=rows,
            weight=torch.cat(weights) if weights else torch.zeros(0),
            names=names,
            source_names=self.row_names_,
            source_labels=self._source_labels(),
        )

    def _source_labels(self) -> Any:
        raise NotImplementedError

    def column_graph(self, X: Any) -> pd.DataFrame:
        """Return which columns attend to which: mean weight over the rows of ``X``, last cell step.

        Row: the column that listens; column: the one listened to. Each row sums to 1.
        """
        columns = self.tokenizer_.column_names
        total, rows = torch.zeros(len(columns), len(columns), dtype=torch.float64), 0
        for out in self._run(X):
            total += column_weights(out.cells.graphs[-1], len(columns))
            rows += len(out.rows)
        return pd.DataFrame((total / max(rows, 1)).numpy(), index=list(columns), columns=list(columns))

    def _state(self) -> State:
        return {
            "tokenizer": self.tokenizer_.to_dict(),
            "shape": self._shape,
            "rows": self.row_names_,
            "n_features_in": self.n_features_in_,
            "feature_names_in": list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None,
        }

    def _restore(self, state: State) -> None:
        self.tokenizer_ = TableTokenizer.from_dict(state["tokenizer"])
        self.n_features_in_ = state["n_features_in"]
        if state["feature_names_in"] is not None:
            self.feature_names_in_ = np.array(state["feature_names_in"], dtype=object)
        shape = state["shape"]
        self._build(TableModelConfig(**shape["config"]), shape["labels"], shape["text"], seed=0)
        self.row_names_ = state["rows"]

    def _tensors(self) -> dict[str, Tensor]:
        states = {f"memory.{step}": state for step, state in enumerate(self.memory_.states)}
        return {**super()._tensors(), **states, "memory.labels": self.memory_.labels}

    def _load_tensors(self, tensors: dict[str, Tensor]) -> None:
        super()._load_tensors(tensors)
        states = tuple(tensors[f"memory.{step}"] for step in range(self.row_steps))
        self.memory_ = RowMemory(states, tensors["memory.labels"])

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_exact"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def memory_of(model: TableModel, cells: TokenSet, labels: Tensor) -> RowMemory:
    """Return the training rows as ``model`` sees them; with several row steps each has listened to the others."""
    with torch.no_grad():
        rows = torch.cat([model.read(part)[1] for part in batches_of_rows(cells, model.head.weight.dtype)])
        states = [rows]
        for block in list(model.blocks)[:-1]:
            states.append(block(states[-1], None, labels)[0])
    return RowMemory(tuple(states), labels)


def run_rows(model: TableModel, cells: TokenSet, memory: RowMemory) -> Iterator[TableOutput]:
    with torch.no_grad():
        for part in batches_of_rows(cells, model.head.weight.dtype):
            yield model(part, memory=memory)

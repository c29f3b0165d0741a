"""StructFormerClassifier and StructFormerRegressor: tables, with the scikit-learn interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,  # pyright: ignore[reportUnknownVariableType]
    _check_sample_weight,  # pyright: ignore[reportUnknownVariableType]
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)
from torch import Tensor, nn

from structformer.estimators.base import (
    Classes,
    Scale,
    State,
    StructFormerEstimator,
    exact,
    run_training,
    seeded,
)
from structformer.estimators.rows import batches_of_rows, canonical_order, column_weights
from structformer.graph import TokenGraph
from structformer.models.table import RowMemory, TableModel, TableModelConfig, TableOutput
from structformer.tokenize.tables import TableTokenizer
from structformer.tokens import TokenSet
from structformer.training import Callback, TrainingConfig, index_loader
from structformer.training.objectives import balanced_class_weight, classification_loss, regression_loss


class _TableEstimator(StructFormerEstimator):
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
        epochs: int = 100,
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

    def _score(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> float:
        return -float(self._loss(outputs, target, weight))

    def _outputs(self) -> int:
        raise NotImplementedError

    def _fit_table(
        self,
        X: Any,
        target: np.ndarray,
        sample_weight: Any,
        held_out: tuple[Any, np.ndarray] | None,
        stratify: bool,
    ) -> Self:
        seed = self._seed()
        self.tokenizer_ = TableTokenizer(infinite=self.infinite)  # pyright: ignore[reportArgumentType]
        cells = self.tokenizer_.fit_transform(X)
        check_consistent_length(np.arange(cells.num_sets), target)
        self.n_features_in_ = len(self.tokenizer_.feature_names_)
        _check_feature_names(self, X, reset=True)
        weight = None
        if sample_weight is not None:
            weight = torch.from_numpy(_check_sample_weight(sample_weight, np.empty((cells.num_sets, 1)), dtype=float))
            weight = weight.float()
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
        self, cells: TokenSet, y: Tensor, weight: Tensor | None, held: tuple[TokenSet, Tensor] | None, seed: int
    ) -> None:
        rows = cells.num_sets
        labels = self._label_features(y)

        def batch(index: Tensor) -> tuple[TokenSet, Tensor, Tensor, Tensor | None]:
            return cells.select(index), labels[index], y[index], None if weight is None else weight[index]

        def loss(model: nn.Module, item: tuple[TokenSet, Tensor, Tensor, Tensor | None]) -> Tensor:
            part, known, target, importance = item
            return self._loss(model(part, labels=known).outputs, target, importance)

        def validate(model: nn.Module) -> float:
            assert held is not None and isinstance(model, TableModel)
            memory = _memory(model, cells, labels)
            outputs = torch.cat([out.outputs for out in _outputs(model, held[0], memory)])
            return self._score(outputs, held[1], None)

        size = self.batch_size or min(512, max(64, rows // 4))
        self.history_ = run_training(
            self.model_,
            index_loader(rows, size, seed, batch),
            loss,
            TrainingConfig(
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience if held is not None else None,
                max_time=self.max_time,
                device=self.device,
            ),
            seed,
            validate=None if held is None else validate,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )

    def _remember(self, cells: TokenSet, labels: Tensor, names: list[str]) -> None:
        self._exact = exact(self.model_)
        self.memory_ = _memory(self._exact, cells, labels.double())
        self.row_names_ = names

    def _run(self, X: Any) -> Iterator[TableOutput]:
        check_is_fitted(self, "model_")
        model = getattr(self, "_exact", None)
        if model is None:
            model = self._exact = exact(self.model_)
        yield from _outputs(model, self._cells(X), self.memory_)

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


class StructFormerClassifier(ClassifierMixin, _TableEstimator):
    """Classify the rows of a table.

    A row is read as its cells, which listen to each other along a learned graph; the row then listens to the training
    rows most like it, whose messages carry their classes. A new row listens to training rows only.

    Args:
        width: Features of a cell and of a row.
        cell_steps: Times that the cells of a row attend to each other.
        row_steps: Times that rows attend to training rows.
        heads: Attention heads.
        cell_neighbors: Cells that a cell may listen to.
        row_neighbors: Training rows that a row may listen to.
        dropout: Probability of dropping a feature or an attention weight.
        epochs: Most passes over the training rows.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Rows in a batch; None chooses it from the size of the table.
        patience: Epochs without a better validation score before stopping; None uses all rows for training.
        validation_fraction: Share of the rows held out for early stopping when no `eval_set` is given.
        max_time: Seconds that training may take.
        infinite: "error", or "clip" to read ±infinity as the largest or smallest finite training value.
        class_weight: None, "balanced", or a weight for each class by label.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each epoch with the epoch and the model; True stops training.

    Attributes:
        classes_: The class labels in sorted order.
        n_features_in_: Columns of the training table.
        feature_names_in_: Their names, when the table had names.
        history_: Loss and validation score of each epoch.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> import structformer as sf
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = sf.StructFormerClassifier(epochs=5, random_state=0).fit(X, y)
        >>> model.predict_proba(X.head(3)).shape
        (3, 3)
        >>> graph = model.learned_graph(X.head(3))
        >>> graph.num_targets, graph.num_sources
        (3, 150)
    """

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
        epochs: int = 100,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        batch_size: int | None = None,
        patience: int | None = 20,
        validation_fraction: float = 0.15,
        max_time: float | None = None,
        infinite: str = "error",
        class_weight: str | dict[Any, float] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        super().__init__(
            width=width,
            cell_steps=cell_steps,
            row_steps=row_steps,
            heads=heads,
            cell_neighbors=cell_neighbors,
            row_neighbors=row_neighbors,
            dropout=dropout,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            patience=patience,
            validation_fraction=validation_fraction,
            max_time=max_time,
            infinite=infinite,
            device=device,
            random_state=random_state,
            verbose=verbose,
            callbacks=callbacks,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Train on a table.

        Args:
            X: DataFrame or array [rows, columns].
            y: One class label a row.
            sample_weight: Importance of each row in the loss.
            eval_set: (X, y) for early stopping, instead of a held-out part of the training rows.

        Raises:
            ValueError: The table or the target cannot be used; the message names the culprit.
        """
        labels = _target(y)
        check_classification_targets(labels)
        self._classes = Classes.of(labels)
        self.classes_ = self._classes.values
        held = None
        if eval_set is not None:
            held = (eval_set[0], self._classes.encode(_target(eval_set[1], "eval_set's y"), "eval_set's y"))
        return self._fit_table(X, self._classes.encode(labels), sample_weight, held, stratify=True)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, [rows, classes], in the order of `classes_`."""
        return torch.from_numpy(self._predict_outputs(X)).softmax(-1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        return self.classes_[self._predict_outputs(X).argmax(-1)]

    def _outputs(self) -> int:
        return len(self._classes.values)

    def _label_features(self, target: Tensor) -> Tensor:
        return nn.functional.one_hot(target, self._outputs()).float()

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return classification_loss(outputs, target, weight, self._class_weight(target).to(outputs))

    def _class_weight(self, target: Tensor) -> Tensor:
        classes = self._outputs()
        if self.class_weight is None:
            return torch.ones(classes)
        if isinstance(self.class_weight, dict):
            return torch.tensor([float(self.class_weight.get(c, 1.0)) for c in self.classes_.tolist()])
        if self.class_weight != "balanced":
            raise ValueError(f'class_weight must be None, "balanced" or a dict (got {self.class_weight!r})')
        return balanced_class_weight(target, classes)

    def _source_labels(self) -> Any:
        return self.classes_[self.memory_.labels.argmax(-1).numpy()].tolist()

    def _state(self) -> State:
        return {**super()._state(), "classes": self._classes.to_dict()}

    def _restore(self, state: State) -> None:
        self._classes = Classes.from_dict(state["classes"])
        self.classes_ = self._classes.values
        super()._restore(state)


class StructFormerRegressor(RegressorMixin, _TableEstimator):
    """Predict a number, or several, for each row of a table.

    Rows are read as in :class:`StructFormerClassifier`; the messages of training rows carry their standardised
    targets. The parameters are the same, without ``class_weight``.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> import structformer as sf
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> sf.StructFormerRegressor(epochs=5, random_state=0).fit(X, y).predict(X.head(2)).shape
        (2,)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Train on a table.

        Args:
            X: DataFrame or array [rows, columns].
            y: One number a row, or [rows, outputs].
            sample_weight: Importance of each row in the loss.
            eval_set: (X, y) for early stopping, instead of a held-out part of the training rows.

        Raises:
            ValueError: The table or the target cannot be used; the message names the culprit.
        """
        target = _numbers(y)
        self._one = target.ndim == 1
        target = target.reshape(len(target), -1)
        weight = None if sample_weight is None else np.broadcast_to(np.asarray(sample_weight, float), len(target))
        self._scale = Scale.of(target, weight)
        held = None
        if eval_set is not None:
            other = _numbers(eval_set[1], "eval_set's y").reshape(len(eval_set[1]), -1)
            held = (eval_set[0], self._scale.forward(other).astype(np.float32))
        standard = self._scale.forward(target).astype(np.float32)
        return self._fit_table(X, standard, sample_weight, held, stratify=False)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, [rows], or [rows, outputs] when trained on several."""
        out = self._scale.backward(self._predict_outputs(X))
        return out[:, 0] if self._one else out

    def _outputs(self) -> int:
        return len(self._scale.mean)

    def _label_features(self, target: Tensor) -> Tensor:
        return target

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return regression_loss(outputs, target, weight)

    def _source_labels(self) -> Any:
        labels = self._scale.backward(self.memory_.labels.numpy())
        return labels[:, 0].tolist() if self._one else labels.tolist()

    def _state(self) -> State:
        return {**super()._state(), "scale": asdict(self._scale), "one": self._one}

    def _restore(self, state: State) -> None:
        self._scale, self._one = Scale(**{k: tuple(v) for k, v in state["scale"].items()}), state["one"]
        super()._restore(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _memory(model: TableModel, cells: TokenSet, labels: Tensor) -> RowMemory:
    """Return the training rows as ``model`` sees them; with several row steps each has listened to the others."""
    with torch.no_grad():
        rows = torch.cat([model.read(part)[1] for part in batches_of_rows(cells, model.head.weight.dtype)])
        states = [rows]
        for block in list(model.blocks)[:-1]:
            states.append(block(states[-1], None, labels)[0])
    return RowMemory(tuple(states), labels)


def _outputs(model: TableModel, cells: TokenSet, memory: RowMemory) -> Iterator[TableOutput]:
    with torch.no_grad():
        for part in batches_of_rows(cells, model.head.weight.dtype):
            yield model(part, memory=memory)


def _target(y: Any, name: str = "y") -> np.ndarray:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    missing = pd.isna(labels)
    if missing.any():
        raise ValueError(f"{name} has a missing label (NaN) at position {int(np.flatnonzero(missing)[0])}")
    return labels


def _numbers(y: Any, name: str = "y") -> np.ndarray:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    try:
        target = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers ({error})") from error
    if target.ndim not in (1, 2):
        raise ValueError(f"{name} must be [rows] or [rows, outputs] (got shape {target.shape})")
    if target.ndim == 2 and target.shape[1] == 1:
        target = column_or_1d(target, warn=True)
    bad = ~np.isfinite(target.reshape(len(target), -1)).all(1)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name} must be finite (got {target[place]} at position {place}: NaN or infinity)")
    return target

"""StructFormerClassifier and StructFormerRegressor: tables, with the scikit-learn interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from torch import Tensor, nn

from structformer.estimators.base import Classes, Scale, State
from structformer.estimators.table_base import TableEstimator
from structformer.estimators.targets import ClassWeight, class_labels, class_weights, numbers
from structformer.models.choice import ModelName
from structformer.tokenize.columns import Infinite
from structformer.training import Callback
from structformer.training.objectives import classification_loss, regression_loss


class StructFormerClassifier(ClassifierMixin, TableEstimator):
    """Classify the rows of a table.

    A row is read as its cells, which listen to each other along a learned graph; the row then listens to the
    training rows most like it, whose messages carry their classes. A new row listens to training rows only; a
    training row that is given again finds itself among them, as with k nearest neighbours.

    Args:
        model: What reads the cells of a row: "soes", which learns a graph over them, or "ressformer", which repeats one
            block with a memory and several experts (`ReSSFormer`). How rows listen to rows is the same.
        model_options: Further settings of that model by name, such as {"experts": 8}: fields of `SOESEncoderConfig` or
            `ReSSFormerConfig`.
        width: Features of a cell and of a row.
        cell_steps: Times that the cells of a row attend to each other; None is 1, or 2 for "ressformer".
        row_steps: Times that rows attend to training rows.
        heads: Attention heads.
        cell_neighbors: Cells that a cell may listen to.
        row_neighbors: Training rows that a row may listen to.
        dropout: Probability of dropping a feature or an attention weight.
        members: Networks, each with another held-out part, whose outputs are averaged; None is 4 for tables
            of up to 10,000 cells and 1 beyond.
        epochs: Most passes over the training rows; None is 100 for up to 3,000 rows and fewer beyond.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Rows in a batch; None chooses it from the size of the table.
        patience: Epochs without a better validation score before stopping; None uses all rows for training.
        validation_fraction: Share of the rows held out for early stopping when no `eval_set` is given.
        max_time: Seconds that training may take, shared out evenly among the networks.
        infinite: "error", or "clip" to read ±infinity as the largest or smallest finite training value.
        class_weight: None, "balanced", or a weight for each class by label.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each epoch with the epoch and the network; True stops training, and networks not
            begun by then are left out.

    Attributes:
        classes_: The class labels in sorted order.
        n_features_in_: Columns of the training table.
        feature_names_in_: Their names, when the table had names.
        history_: Loss and validation score of each epoch, of the network trained last; saved with the model.
        histories_: The same of each network.

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

    _stratified: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: ModelName = "soes",
        model_options: Mapping[str, Any] | None = None,
        width: int = 64,
        cell_steps: int | None = None,
        row_steps: int = 1,
        heads: int = 4,
        cell_neighbors: int = 8,
        row_neighbors: int = 32,
        dropout: float = 0.1,
        members: int | None = None,
        epochs: int | None = None,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        batch_size: int | None = None,
        patience: int | None = 20,
        validation_fraction: float = 0.15,
        max_time: float | None = None,
        infinite: Infinite = "error",
        class_weight: ClassWeight = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            model_options=model_options,
            width=width,
            cell_steps=cell_steps,
            row_steps=row_steps,
            heads=heads,
            cell_neighbors=cell_neighbors,
            row_neighbors=row_neighbors,
            dropout=dropout,
            members=members,
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
        return self._fit_table(X, y, sample_weight, eval_set)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, [rows, classes], in the order of `classes_`."""
        return torch.from_numpy(self._predicted(X)).softmax(-1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        return self._classes_of(self._predicted(X))

    def _classes_of(self, outputs: np.ndarray) -> np.ndarray:
        return self.classes_[outputs.argmax(-1)]

    def _learn_target(self, y: Any, rows: int, weight: Tensor | None) -> np.ndarray:
        labels = class_labels(y, rows, "row", warn=True)
        self._classes = Classes.of(labels)
        self.classes_ = self._classes.values
        target = self._classes.encode(labels)
        self._class_weight = class_weights(self.class_weight, self._classes, torch.from_numpy(target))
        return target

    def _read_target(self, y: Any, rows: int, name: str) -> np.ndarray:
        return self._classes.encode(class_labels(y, rows, "row", name), name)

    def _outputs(self) -> int:
        return len(self._classes.values)

    def _label_features(self, target: Tensor) -> Tensor:
        return nn.functional.one_hot(target, self._outputs()).float()

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        by_class = None if self._class_weight is None else self._class_weight.to(outputs)
        return classification_loss(outputs, target, weight, by_class)

    def _source_labels(self) -> Any:
        return self.classes_[self.memory_[0].labels.argmax(-1).numpy()].tolist()

    def _state(self) -> State:
        return {**super()._state(), "classes": self._classes.to_dict()}

    def _restore(self, state: State) -> None:
        self._classes = Classes.from_dict(state["classes"])
        self.classes_ = self._classes.values
        super()._restore(state)


class StructFormerRegressor(RegressorMixin, TableEstimator):
    """Predict a number, or several, for each row of a table.

    Rows are read as in :class:`StructFormerClassifier`; the messages of training rows carry their
    standardised targets. The parameters are the same, without ``class_weight``.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> import structformer as sf
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> sf.StructFormerRegressor(epochs=5, random_state=0).fit(X, y).predict(X.head(2)).shape
        (2,)
    """

    _local: ClassVar[bool] = False

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
        return self._fit_table(X, y, sample_weight, eval_set)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, [rows], or [rows, outputs] when trained on several."""
        outputs = self._predicted(X)
        found = self._scale.backward(outputs)
        return found[:, 0] if self._one else found

    def _learn_target(self, y: Any, rows: int, weight: Tensor | None) -> np.ndarray:
        target = numbers(y, rows, "row")
        self._one = target.ndim == 1
        target = target.reshape(rows, -1)
        self._scale = Scale.of(target, None if weight is None else weight.double().numpy())
        return self._scale.forward(target).astype(np.float32)

    def _read_target(self, y: Any, rows: int, name: str) -> np.ndarray:
        target = numbers(y, rows, "row", name).reshape(rows, -1)
        if target.shape[1] != self._outputs():
            raise ValueError(f"{name} has {target.shape[1]} outputs, but y has {self._outputs()}")
        return self._scale.forward(target).astype(np.float32)

    def _outputs(self) -> int:
        return len(self._scale.mean)

    def _label_features(self, target: Tensor) -> Tensor:
        return target

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return regression_loss(outputs, target, weight)

    def _source_labels(self) -> Any:
        labels = self._scale.backward(self.memory_[0].labels.numpy())
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

"""What the table estimators share: reading, training, the memory of training rows, learned graphs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from structformer.estimators.base import State, StructFormerEstimator, run_training, seeded
from structformer.estimators.parts import FEWEST_TO_SPLIT, split
from structformer.estimators.rows import bare_rows, canonical_order, take_rows, text_width
from structformer.estimators.table_networks import Said, ask, column_table, mean_outputs, remember, row_graph
from structformer.estimators.targets import importance
from structformer.graph import TokenGraph
from structformer.models.choice import ModelName
from structformer.models.table import RowMemory, TableModel, TableModelConfig, TableOutput
from structformer.nn.soes import SOES
from structformer.tokenize.columns import Infinite
from structformer.tokenize.tables import TableTokenizer
from structformer.tokens import TokenSet
from structformer.training import Callback, History, TrainingConfig, index_loader

Batch = tuple[TokenSet, Tensor, Tensor, Tensor | None]
"""Cells, label features, targets and weights of some rows."""

Rows = tuple[TokenSet, Tensor, Tensor | None]
"""Cells, targets and weights of some rows."""


class TableEstimator(StructFormerEstimator):
    """What classification, regression and encoding of tables share."""

    _stratified: ClassVar[bool] = False
    """Whether rows are held out of each class alike."""

    _local: ClassVar[bool] = True
    """Whether rows are told apart by the range of their likeness: numbers are better told from all alike."""

    model_: nn.ModuleList
    tokenizer_: TableTokenizer
    memory_: list[RowMemory]
    row_names_: list[str]
    histories_: list[History]

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
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.model: ModelName = model
        self.model_options = model_options
        self.width = width
        self.cell_steps = cell_steps
        self.row_steps = row_steps
        self.heads = heads
        self.cell_neighbors = cell_neighbors
        self.row_neighbors = row_neighbors
        self.dropout = dropout
        self.members = members
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.max_time = max_time
        self.infinite: Infinite = infinite
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    # What classification, regression and encoding do differently.
    def _learn_target(self, y: Any, rows: int, weight: Tensor | None) -> np.ndarray:
        """Learn classes or scale from the targets and return them as the network takes them."""
        raise NotImplementedError

    def _read_target(self, y: Any, rows: int, name: str) -> np.ndarray:
        """Return other targets, in the classes or on the scale that were learned."""
        raise NotImplementedError

    def _outputs(self) -> int:
        raise NotImplementedError

    def _label_features(self, target: Tensor) -> Tensor:
        raise NotImplementedError

    def _source_labels(self) -> Any:
        raise NotImplementedError

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _batch_loss(self, model: nn.Module, item: Batch) -> Tensor:
        cells, labels, target, weight = item
        out: TableOutput = model(cells, labels=labels)
        return self._loss(out.outputs, target, weight) + out.cells.loss

    def _validation_score(self, model: TableModel, held: Rows, memory: RowMemory) -> float:
        cells, target, weight = held
        outputs = mean_outputs([*ask([model], cells, self.tokenizer_.columns_, [memory])])
        return -float(self._loss(outputs.cpu(), target, weight))

    def _fit_table(self, X: Any, y: Any, sample_weight: Any, eval_set: Any) -> Self:
        # If this fit fails, nothing must answer with half of the last one.
        for name in ("model_", "memory_", "_seen"):
            self.__dict__.pop(name, None)
        seed = self._seed()
        self.tokenizer_ = TableTokenizer(infinite=self.infinite)
        cells = self.tokenizer_.fit_transform(X)
        rows = cells.num_sets
        weight = importance(sample_weight, rows, "row")
        target = self._learn_target(y, rows, weight)
        held = self._read_eval_set(eval_set)
        self._keep_names(X)
        # Training sees the rows in an order of their own, so that the order they came in changes nothing.
        order = canonical_order(cells, target, weight)
        if weight is not None:
            order = order[weight[order] > 0]
            weight = weight[order]
        names = cells.set_names or []
        self.row_names_ = [names[row] for row in order.tolist()]
        cells, kept = bare_rows(cells).select(order), torch.from_numpy(target)[order]
        features = self._label_features(kept)
        shape = {"labels": features.shape[1], "text": text_width(cells), "members": self._members(cells)}
        self._build({"config": asdict(self._config(len(order))), **shape}, seed)
        splits = held is None and self.patience is not None and self.validation_fraction
        self.histories_ = []
        for number, member in enumerate(self._networks()):
            train, validation = torch.arange(len(order)), held
            if splits and len(order) >= FEWEST_TO_SPLIT:
                labels = kept.numpy() if self._stratified else None
                train, part = split(len(order), self.validation_fraction, labels, seed + number)
                validation = (cells.select(part), kept[part], _at(weight, part))
            given = (cells.select(train), kept[train], _at(weight, train))
            self._train(member, given, validation, seed + number)
            if self.history_ is not None and self.history_.stopped == "callback":
                # Networks that were not trained have nothing to say.
                self.model_ = self.model_[: number + 1]
                self._shape["members"] = number + 1
                break
        # All rows are listened to at prediction, those held out for early stopping included.
        exact, columns = self._exact_networks(), self.tokenizer_.columns_
        self.memory_ = [remember(network, cells, columns, features.double()) for network in exact]
        self._seen = {"rows": len(order), "columns": self.n_features_in_}
        return self

    def _histories(self) -> list[History]:
        return self.histories_

    def _restore_histories(self, histories: list[History]) -> None:
        super()._restore_histories(histories)
        self.histories_ = histories

    def _members(self, cells: TokenSet) -> int:
        # What is learned from a small table depends on which of its rows are held out; a mean over several
        # choices depends on it less.
        if self.members is None:
            return 4 if cells.num_tokens <= 10_000 else 1
        if self.members < 1:
            raise ValueError(f"members must be at least 1 (got {self.members})")
        return self.members

    def _networks(self) -> list[TableModel]:
        return [network for network in self.model_ if isinstance(network, TableModel)]

    def _exact_networks(self) -> list[TableModel]:
        return list(self._exact_model())

    def _read_eval_set(self, eval_set: Any) -> Rows | None:
        if eval_set is None:
            return None
        if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
            raise ValueError(f"eval_set must be a pair (X, y) (got {type(eval_set).__name__})")
        cells = self.tokenizer_.transform(eval_set[0])
        if not cells.num_sets:
            raise ValueError("eval_set must have at least one row (got 0)")
        target = self._read_target(eval_set[1], cells.num_sets, "y of eval_set")
        return bare_rows(cells), torch.from_numpy(target), None

    def _cell_outputs(self) -> list[int]:
        """Numbers to read out of the cells of each column; none where rows alone are asked."""
        return []

    def _keep_names(self, X: Any) -> None:
        self.n_features_in_ = len(self.tokenizer_.feature_names_)
        names = list(getattr(X, "columns", ()))
        if names and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _config(self, rows: int) -> TableModelConfig:
        # What a ReSSFormer writes into its memory in one step is read in the next.
        usual = 2 if self.model == "ressformer" else 1
        return TableModelConfig(
            width=self.width,
            cell_steps=usual if self.cell_steps is None else self.cell_steps,
            row_steps=self.row_steps,
            heads=self.heads,
            cell_neighbors=self.cell_neighbors,
            row_neighbors=self.row_neighbors,
            dropout=self.dropout,
            cell_dropout=0.2,
            # Few rows cannot tell a bend from noise: two bins for 250 rows, 16 for 16,000.
            bins=min(32, max(2, math.isqrt(rows) // 8)),
            model=self.model,
            options=self.model_options,
            local=self._local,
        )

    def _build(self, shape: State, seed: int) -> None:
        self._shape = shape
        self._exact = None
        columns, config = self.tokenizer_.columns_, TableModelConfig(**shape["config"])

        def member() -> TableModel:
            outputs, cells = self._outputs(), self._cell_outputs()
            return TableModel(columns, outputs, shape["labels"], config, shape["text"], cells)

        self.model_ = seeded(seed, lambda: nn.ModuleList(member() for _ in range(shape["members"])))

    def _train(
        self,
        member: TableModel,
        given: Rows,
        held: Rows | None,
        seed: int,
    ) -> None:
        cells, target, weight = given
        rows, columns = cells.num_sets, self.tokenizer_.columns_
        labels = self._label_features(target)

        def batch(index: Tensor) -> Batch:
            part = take_rows(cells, index, columns)
            return part, labels[index], target[index], _at(weight, index)

        def validate(model: nn.Module) -> float:
            assert held is not None
            assert isinstance(model, TableModel)
            return self._validation_score(model, held, remember(model, cells, columns, labels))

        size, members, name = self.batch_size, len(self.model_), type(self).__name__
        self.history_ = run_training(
            member,
            index_loader(rows, min(512, max(64, rows // 4)) if size is None else size, seed, batch),
            self._batch_loss,
            TrainingConfig(
                # Large tables say as much in fewer passes.
                epochs=min(100, max(10, 300_000 // rows)) if self.epochs is None else self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience if held is not None else None,
                max_time=None if self.max_time is None else self.max_time / members,
                device=self.device,
                average=0.97,
            ),
            seed,
            validate=None if held is None else validate,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=name if members == 1 else f"{name} {len(self.histories_) + 1}/{members}",
        )
        self.histories_.append(self.history_)

    def _said(self, cells: TokenSet) -> Iterator[Said]:
        columns = self.tokenizer_.columns_
        return ask(self._exact_networks(), bare_rows(cells), columns, self.memory_)

    def _run(self, X: Any) -> Iterator[Said]:
        check_is_fitted(self, "memory_")
        return self._said(self.tokenizer_.transform(X))

    def _predicted(self, X: Any) -> Float[np.ndarray, "rows outputs"]:
        return mean_outputs([*self._run(X)]).numpy()

    def learned_graph(self, X: Any, *, support: bool = True) -> TokenGraph:
        """Return which training rows each row of ``X`` listens to, and how much.

        Targets are the rows of ``X``, sources the training rows; both carry the names of their index. Several
        networks are averaged. With several row steps the graph is that of the last, and ``steps`` holds those
        of all.

        Where something is predicted, edges also have their ``support``, how far they speak for the prediction, by
        which pictures show them; ``support=False`` saves the pass backwards that this takes.

        Raises:
            ValueError: ``X`` cannot be read, or the model has no row steps.
            NotFittedError: Before `fit`.
        """
        check_is_fitted(self, "memory_")
        if not self._shape["config"]["row_steps"]:
            raise ValueError("rows listen to no other rows: row_steps is 0")
        cells = self.tokenizer_.transform(X)
        known = {"source_names": self.row_names_, "source_labels": self._source_labels()}
        with self._supporting(support):
            return row_graph(self._said(cells), len(self.row_names_), names=cells.set_names, **known)

    def column_graph(self, X: Any) -> pd.DataFrame:
        """Return which columns attend to which: mean weight over the rows of ``X``, last cell step.

        Row: the column that listens; column: the one listened to. Each row sums to 1, or to 0 when ``X`` has
        no rows.
        """
        said = self._run(X)
        return column_table(said, self.tokenizer_.column_names)

    def graph_layers(self) -> tuple[list[nn.Module], list[SOES]]:
        """See `StructFormerEstimator.graph_layers`; the graph shown is that over rows."""
        networks = self._exact_networks()
        layers = (layer for network in networks for layer in network.blocks.modules())
        return [*networks], [layer for layer in layers if isinstance(layer, SOES)]

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
        self._build(state["shape"], seed=0)
        self.row_names_ = state["rows"]

    def _tensors(self) -> dict[str, Tensor]:
        memory = {f"memory.{number}": memory.states for number, memory in enumerate(self.memory_)}
        return {**super()._tensors(), **memory, "memory.labels": self.memory_[0].labels}

    def _load_tensors(self, tensors: dict[str, Tensor]) -> None:
        super()._load_tensors(tensors)
        labels = tensors["memory.labels"]
        self.memory_ = [RowMemory(tensors[f"memory.{n}"], labels) for n in range(self._shape["members"])]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _at(weight: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if weight is None else weight[rows]

"""What SetClassifier, SetRegressor, GraphClassifier and GraphRegressor share: one target a set or graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from structformer.estimators.base import Classes, Scale, State, run_training, seeded
from structformer.estimators.order import canonical
from structformer.estimators.packed import PackedEstimator, bare, batches, counted, token_input
from structformer.estimators.parts import FEWEST_TO_SPLIT, split
from structformer.estimators.targets import ClassWeight, class_labels, class_weights, importance, numbers
from structformer.models.choice import ModelName, config_from_state, config_state
from structformer.models.encoder import SOESEncoderConfig
from structformer.models.pooled import PooledModel, PooledOutput, TokenInput
from structformer.tokenize import GraphTokenizer, SetTokenizer
from structformer.tokens import TokenSet
from structformer.training import Callback, index_loader
from structformer.training.objectives import classification_loss, regression_loss


@dataclass
class Batch:
    """Sets with their targets and their weights in the loss."""

    tokens: TokenSet
    target: Tensor
    weight: Float[Tensor, " sets"] | None

    def to(self, device: torch.device, **_: Any) -> Batch:
        """Return a copy on ``device``."""
        weight = None if self.weight is None else self.weight.to(device)
        return Batch(self.tokens.to(device), self.target.to(device), weight)

    def select(self, sets: Int[Tensor, " some"]) -> Batch:
        """Return some of the sets."""
        weight = None if self.weight is None else self.weight[sets]
        return Batch(self.tokens.select(sets), self.target[sets], weight)


class PooledEstimator(PackedEstimator):
    """Base of the estimators with one target a set; subclasses say what a set is and what a target is."""

    _thing: ClassVar[str]
    _tokenizer: ClassVar[type[SetTokenizer] | type[GraphTokenizer]]
    model_: PooledModel

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _new_tokenizer(self) -> SetTokenizer | GraphTokenizer:
        return self._tokenizer()

    def _read(self, X: Any) -> TokenSet:
        """Fit the tokenizer to training data and read it."""
        self.tokenizer_ = self._new_tokenizer()
        tokens = self.tokenizer_.fit_transform(X)
        if isinstance(self.tokenizer_, SetTokenizer):
            self.n_features_in_ = self.tokenizer_.num_features_
        return tokens

    def _target(self, tokens: TokenSet, y: Any) -> Any:
        """``y``, or what the graphs themselves carry."""
        if y is None and isinstance(tokens.y, Tensor) and len(tokens.y) == tokens.num_sets:
            return tokens.y
        return y

    def _held_out(self, eval_set: tuple[Any, Any] | None) -> tuple[TokenSet, Any] | None:
        if eval_set is None:
            return None
        if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
            raise ValueError(f"eval_set must be a pair (X, y) (got {type(eval_set).__name__})")
        tokens = self.tokenizer_.transform(eval_set[0])
        return tokens, self._target(tokens, eval_set[1])

    def _train(
        self,
        tokens: TokenSet,
        target: np.ndarray,
        weight: Float[Tensor, " sets"] | None,
        held: tuple[TokenSet, np.ndarray] | None,
        outputs: int,
        stratify: bool,
    ) -> None:
        """Build the network and train it, on sets in an order of their own."""
        seed = self._seed()
        key = target if weight is None else np.column_stack([target, weight.numpy()])
        ordered, _, order = canonical(bare(tokens), key)
        everything = Batch(
            ordered, torch.from_numpy(target)[order], None if weight is None else weight[order]
        )
        train, part = everything, None
        if held is not None:
            part = Batch(bare(held[0]), torch.from_numpy(held[1]), None)
        elif self.validation_fraction and self.patience is not None and tokens.num_sets >= FEWEST_TO_SPLIT:
            labels = everything.target.numpy() if stratify else None
            chosen = split(tokens.num_sets, self.validation_fraction, labels, seed)
            train, part = (everything.select(sets) for sets in chosen)
        types = len(getattr(self.tokenizer_, "node_types_", ())) or 1
        self._input = token_input(ordered, types)
        self._build(self._input, self._encoder_config(self._input), outputs, seed)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            out: PooledOutput = model(batch.tokens)
            return self._loss(out.outputs, batch.target, batch.weight) + out.encoded.loss

        def validate(model: nn.Module) -> float:
            assert part is not None
            device = next(model.parameters()).device
            outputs = [
                model(part.tokens.select(sets).to(device)).outputs for sets in batches(part.tokens.ptr)
            ]
            return -float(self._loss(torch.cat(outputs).cpu(), part.target, part.weight))

        loader = index_loader(train.tokens.num_sets, self._batch_size(train.tokens), seed, train.select)
        self.history_ = run_training(
            self.model_,
            loader,
            loss,
            self._training_config(len(loader), None if part is None else self.patience),
            seed,
            validate=None if part is None else validate,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )
        self._seen = counted(tokens, f"{self._thing}s", "nodes" if self._thing == "graph" else "elements")

    def _build(self, given: TokenInput, config: SOESEncoderConfig, outputs: int, seed: int) -> None:
        self._exact = None
        self.model_ = seeded(seed, lambda: PooledModel(given, outputs, config))

    def _outputs(self, X: Any) -> Float[Tensor, "sets outputs"]:
        check_is_fitted(self, "model_")
        return torch.cat([out.outputs for out in self._run(self.tokenizer_.transform(X))])

    def _state(self) -> State:
        outputs = self.model_.head[-1].out_features
        config = config_state(self.model_.encoder.config)
        return {**super()._state(), "input": asdict(self._input), "config": config, "outputs": outputs}

    def _restore(self, state: State) -> None:
        self.tokenizer_ = self._tokenizer.from_dict(state["tokenizer"])
        if isinstance(self.tokenizer_, SetTokenizer):
            self.n_features_in_ = self.tokenizer_.num_features_
        self._input = TokenInput(**state["input"])
        self._build(self._input, config_from_state(state["config"]), state["outputs"], seed=0)


class PooledClassifier(ClassifierMixin, PooledEstimator):
    """Classification of sets or graphs."""

    def __init__(
        self,
        *,
        model: ModelName = "soes",
        model_options: Mapping[str, Any] | None = None,
        width: int = 64,
        steps: int = 2,
        heads: int = 4,
        neighbors: int = 16,
        dropout: float = 0.0,
        epochs: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        batch_size: int | None = None,
        patience: int | None = 15,
        validation_fraction: float = 0.15,
        max_time: float | None = None,
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
            steps=steps,
            heads=heads,
            neighbors=neighbors,
            dropout=dropout,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            patience=patience,
            validation_fraction=validation_fraction,
            max_time=max_time,
            device=device,
            random_state=random_state,
            verbose=verbose,
            callbacks=callbacks,
        )
        self.class_weight = class_weight

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, eval_set: tuple[Any, Any] | None = None
    ) -> Self:
        """Train.

        Args:
            X: The training sets or graphs.
            y: One class label each; None takes those that PyG graphs carry.
            sample_weight: Importance of each in the loss.
            eval_set: (X, y) for early stopping, instead of a held-out part of the training data.

        Raises:
            ValueError: The data, the target or a parameter cannot be used; the message names the culprit.
        """
        tokens = self._read(X)
        labels = class_labels(self._target(tokens, y), tokens.num_sets, self._thing)
        self._classes = Classes.of(labels)
        self.classes_ = self._classes.values
        held = self._held_out(eval_set)
        if held is not None:
            name = "y of eval_set"
            others = class_labels(held[1], held[0].num_sets, self._thing, name)
            held = (held[0], self._classes.encode(others, name))
        target = self._classes.encode(labels)
        weight = importance(sample_weight, tokens.num_sets, self._thing)
        self._class_weights = class_weights(self.class_weight, self._classes, torch.from_numpy(target))
        self._train(tokens, target, weight, held, len(self.classes_), stratify=True)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "sets classes"]:
        """Return the probability of each class, in the order of `classes_`.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return self._outputs(X).softmax(-1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each set or graph.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        place = self._outputs(X).argmax(-1).numpy()
        return self.classes_[place]

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        by_class = None if self._class_weights is None else self._class_weights.to(outputs)
        return classification_loss(outputs, target, weight, by_class)

    def _state(self) -> State:
        return {**super()._state(), "classes": self._classes.to_dict()}

    def _restore(self, state: State) -> None:
        self._classes = Classes.from_dict(state["classes"])
        self.classes_ = self._classes.values
        super()._restore(state)


class PooledRegressor(RegressorMixin, PooledEstimator):
    """Regression of sets or graphs."""

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, eval_set: tuple[Any, Any] | None = None
    ) -> Self:
        """Train.

        Args:
            X: The training sets or graphs.
            y: One number each, or [sets, outputs]; None takes those that PyG graphs carry.
            sample_weight: Importance of each in the loss.
            eval_set: (X, y) for early stopping, instead of a held-out part of the training data.

        Raises:
            ValueError: The data, the target or a parameter cannot be used; the message names the culprit.
        """
        tokens = self._read(X)
        target = numbers(self._target(tokens, y), tokens.num_sets, self._thing)
        self._one = target.ndim == 1
        weight = importance(sample_weight, tokens.num_sets, self._thing)
        rows = target.reshape(tokens.num_sets, -1)
        self._scale = Scale.of(rows, None if weight is None else weight.numpy())
        held = self._held_out(eval_set)
        if held is not None:
            others = numbers(held[1], held[0].num_sets, self._thing, "y of eval_set").reshape(
                held[0].num_sets, -1
            )
            if others.shape[1] != rows.shape[1]:
                raise ValueError(f"y of eval_set has {others.shape[1]} outputs, but y has {rows.shape[1]}")
            held = (held[0], self._scale.forward(others).astype(np.float32))
        standard = self._scale.forward(rows).astype(np.float32)
        self._train(tokens, standard, weight, held, rows.shape[1], stratify=False)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "sets *outputs"]:
        """Return the predicted numbers, [sets], or [sets, outputs] when trained on several.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        found = self._scale.backward(self._outputs(X).numpy())
        return found[:, 0] if self._one else found

    def _loss(self, outputs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return regression_loss(outputs, target, weight)

    def _state(self) -> State:
        return {**super()._state(), "scale": asdict(self._scale), "one": self._one}

    def _restore(self, state: State) -> None:
        self._scale, self._one = Scale(**{k: tuple(v) for k, v in state["scale"].items()}), state["one"]
        super()._restore(state)

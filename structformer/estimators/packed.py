"""What estimators over packed token sets share: parameters, batches, exact prediction, learned graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from structformer.estimators.base import State, StructFormerEstimator
from structformer.estimators.parts import joined
from structformer.graph import TokenGraph
from structformer.models.choice import ModelName, encoder_config
from structformer.models.encoder import SOESEncoderConfig
from structformer.models.pooled import TokenInput
from structformer.tokens import TokenSet
from structformer.training import Callback, TrainingConfig

TOKENS_A_BATCH = 65_536
"""Tokens predicted at a time, but for a single set that is larger."""

STEPS = 400
"""Training steps planned where the number of epochs is left open, within 10 to 100 epochs."""

MOST_SLOPED = 32
"""Features up to which each has a piecewise-linear embedding."""


class PackedEstimator(StructFormerEstimator):
    """Base of the estimators that read token sets; their inputs are told apart by the tokenizer."""

    tokenizer_: Any  # a SetTokenizer or a GraphTokenizer

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
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.model: ModelName = model
        self.model_options = model_options
        self.width = width
        self.steps = steps
        self.heads = heads
        self.neighbors = neighbors
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.max_time = max_time
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    def learned_graph(self, X: Any, *, support: bool = True) -> TokenGraph:
        """Return the graph learned over the tokens of ``X``: who listens to whom, and how much.

        Tokens carry the data's own names where it has some. The graph is that of the last step; ``steps`` holds
        those of all steps, and in each step of a ReSSFormer those of all layers. Several sets or graphs share one
        TokenGraph, whose ``ptr`` says where each begins.

        Where something is predicted, edges also have their ``support``, how far they speak for the prediction, by
        which pictures show them; ``support=False`` saves the pass backwards that this takes.

        Raises:
            ValueError: ``X`` cannot be read.
            NotFittedError: Before `fit`.
        """
        check_is_fitted(self, "model_")
        tokens = self.tokenizer_.transform(X)
        with self._supporting(support):
            return joined_graph([out.encoded.graphs for out in self._run(tokens)], tokens)

    def _run(self, tokens: TokenSet) -> Iterator[Any]:
        """What the network says of the sets, a batch at a time, in float64."""
        model = self._exact_model()
        with torch.no_grad():
            for sets in batches(tokens.ptr):
                yield model(in_double(tokens.select(sets)))

    def _encoder_config(self, given: TokenInput) -> SOESEncoderConfig:
        return encoder_config(
            self.model,
            self.model_options,
            width=self.width,
            steps=self.steps,
            heads=self.heads,
            neighbors=self.neighbors,
            dropout=self.dropout,
            edge_features=given.edge_features,
        )

    def _training_config(self, batches: int, patience: int | None, average: float = 0.0) -> TrainingConfig:
        """Settings of the loop; ``batches`` an epoch decide how many epochs there are when nobody says."""
        epochs = min(100, max(10, -(-STEPS // batches))) if self.epochs is None else self.epochs
        return TrainingConfig(
            epochs=epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=patience,
            max_time=self.max_time,
            device=self.device,
            average=average,
        )

    def _batch_size(self, tokens: TokenSet) -> int:
        """Sets in a training batch: some 4,096 tokens, and a good number of steps an epoch."""
        if self.batch_size is not None:
            if self.batch_size < 1:
                raise ValueError(f"batch_size must be at least 1 or None (got {self.batch_size})")
            return self.batch_size
        mean = max(1, tokens.num_tokens // max(1, tokens.num_sets))
        return max(1, min(64, 4096 // mean, -(-tokens.num_sets // 8)))

    def _state(self) -> State:
        return {"tokenizer": self.tokenizer_.to_dict()}


def token_input(tokens: TokenSet, token_types: int = 1, pieces: int = 16) -> TokenInput:
    """Describe training tokens: widths, and for few features the quantiles at which their embeddings bend.

    Args:
        tokens: The training tokens, standardised.
        token_types: Kinds of tokens.
        pieces: Most pieces of a piecewise-linear embedding; a feature with two values needs none.
    """
    edge_attr = tokens.edge_attr
    features = tokens.x.shape[1]
    bins = None
    if features <= MOST_SLOPED:
        shares = np.linspace(0, 1, pieces + 1)
        quantiles = [
            np.unique(np.quantile(column, shares).astype(np.float32)) for column in tokens.x.numpy().T
        ]
        bins = [edges.tolist() if len(edges) > 2 else [] for edges in quantiles]
    return TokenInput(features, bins, token_types, 0 if edge_attr is None else edge_attr.shape[1])


def counted(tokens: TokenSet, sets: str, parts: str, **more: int) -> dict[str, int]:
    """Return how many sets, tokens, given edges and features there are.

    Args:
        tokens: The training data.
        sets: What a user calls the sets, such as "graphs".
        parts: What a user calls the tokens, such as "nodes".
        **more: Further counts.
    """
    counts = {sets: tokens.num_sets, parts: tokens.num_tokens, "features": tokens.x.shape[1]}
    if tokens.edge_index is not None:
        counts["directed edges"] = tokens.edge_index.shape[1]
    return {**counts, **more}


def bare(tokens: TokenSet) -> TokenSet:
    """Return the tokens with what a network reads, and nothing else to move about."""
    out = TokenSet()
    for key in ("x", "ptr", "edge_index", "edge_attr", "token_type"):
        value = tokens.get(key)
        if value is not None:
            out[key] = value
    return out


def in_double(tokens: TokenSet) -> TokenSet:
    """Return the tokens with what a network reads, numbers in float64."""
    out = bare(tokens)
    out.x = out.x.double()
    if out.edge_attr is not None:
        out.edge_attr = out.edge_attr.double()
    return out


def batches(ptr: Int[Tensor, "boundaries"], most: int = TOKENS_A_BATCH) -> Iterator[Int[Tensor, " some"]]:
    """Split sets, in their order, into batches of about ``most`` tokens, and at least one set."""
    window = (ptr[:-1] // most).unique_consecutive(return_counts=True)[1]
    yield from torch.arange(ptr.numel() - 1).split(window.tolist())


def joined_graph(parts: Sequence[Sequence[TokenGraph]], tokens: TokenSet, labels: Any = None) -> TokenGraph:
    """Join what was learned batch by batch over ``tokens`` into one graph that knows its names.

    Args:
        parts: For each batch the graphs of all steps.
        tokens: The tokens of all batches.
        labels: One label a token, or None.
    """
    steps = [_joined(graphs, tokens, labels) for graphs in zip(*parts, strict=True)]
    return steps[-1].with_steps(steps[:-1])


def _joined(graphs: Sequence[TokenGraph], tokens: TokenSet, labels: Any) -> TokenGraph:
    starts = np.cumsum([0, *(graph.num_targets for graph in graphs[:-1])]).tolist()
    return joined(graphs, starts, tokens.num_tokens, names=tokens.names, ptr=tokens.ptr, labels=labels)

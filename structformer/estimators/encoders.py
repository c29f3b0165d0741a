"""SetEncoder and GraphEncoder: sets, graphs and nodes as vectors, learned without labels."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from structformer.estimators.base import State, run_training, seeded
from structformer.estimators.order import canonical
from structformer.estimators.packed import PackedEstimator, bare, counted, token_input
from structformer.models.choice import config_from_state, config_state
from structformer.models.encoder import SOESEncoderConfig
from structformer.models.masked import MaskedEncoder, MaskedOutput
from structformer.models.pooled import TokenInput
from structformer.nn.content_space import ContentSpace
from structformer.tokenize import GraphTokenizer, SetTokenizer
from structformer.tokenize.graphs import as_list
from structformer.tokens import TokenSet
from structformer.training import index_loader
from structformer.training.objectives import agreement_loss, reconstruction_loss

HIDDEN_TOKENS, DROPPED_EDGES = 0.3, 0.2

MOST_COMPARED = 512
"""Tokens of a batch whose two views are compared; each is compared with all others."""


class MaskedTokenEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, PackedEstimator):
    """Base of the encoders: masked-token reconstruction and agreement between two corrupted views."""

    _tokenizer: ClassVar[type[SetTokenizer] | type[GraphTokenizer]]
    model_: MaskedEncoder

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on sets or graphs alone.

        Args:
            X: The training sets or graphs.
            y: Ignored; there for scikit-learn's pipelines.

        Raises:
            ValueError: The data or a parameter cannot be used; the message names the culprit.
        """
        seed = self._seed()
        self.tokenizer_ = self._tokenizer()
        tokens = self.tokenizer_.fit_transform(X)
        ordered, _, _ = canonical(bare(tokens), np.zeros(tokens.num_sets))
        types = len(getattr(self.tokenizer_, "node_types_", ())) or 1
        self._input = token_input(ordered, types)
        space = ContentSpace.fit(ordered.x)
        self._build(self._input, self._encoder_config(self._input), seed, space.counted)
        self.model_.space.load_state_dict(space.state_dict())
        loader = index_loader(ordered.num_sets, self._batch_size(ordered), seed, ordered.select)
        self.history_ = run_training(
            self.model_,
            loader,
            partial(self_supervised_loss, variance=float(ordered.x.var(0, correction=0).mean()) or 1.0),
            self._training_config(len(loader), None, average=0.97),
            seed,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )
        graphs = self._tokenizer is GraphTokenizer
        self._seen = counted(tokens, *(("graphs", "nodes") if graphs else ("sets", "elements")))
        return self

    @property
    def _n_features_out(self) -> int:
        return self.model_.encoder.config.width

    def _vectors(self, X: Any, of: str) -> Float[np.ndarray, "things width"]:
        check_is_fitted(self, "model_")
        parts = [getattr(out, of) for out in self._run(self.tokenizer_.transform(X))]
        return torch.cat(parts).numpy()

    def _build(self, given: TokenInput, config: SOESEncoderConfig, seed: int, counted: bool) -> None:
        self._exact = None
        self.model_ = seeded(seed, lambda: MaskedEncoder(given, config, counted))

    def _state(self) -> State:
        config = config_state(self.model_.encoder.config)
        counted = self.model_.space.counted
        return {**super()._state(), "input": asdict(self._input), "config": config, "counted": counted}

    def _restore(self, state: State) -> None:
        self.tokenizer_ = self._tokenizer.from_dict(state["tokenizer"])
        self._input = TokenInput(**state["input"])
        self._build(self._input, config_from_state(state["config"]), 0, bool(state["counted"]))


class SetEncoder(MaskedTokenEncoder):
    """Encode unordered sets of vectors, trained on the sets alone.

    Part of a set's elements is hidden and must be told from the others; two such views of a set must stay closer
    to each other than to other sets. Parameters are those of `SetClassifier`, without what concerns labels.

    Examples:
        >>> import numpy as np, structformer as sf
        >>> draw = np.random.default_rng(0)
        >>> sets = [draw.normal(size=(draw.integers(3, 8), 2)) for _ in range(20)]
        >>> sf.SetEncoder(width=32, epochs=3, random_state=0).fit_transform(sets).shape
        (20, 32)
    """

    _tokenizer = SetTokenizer

    def transform(self, X: Any) -> Float[np.ndarray, "sets width"]:
        """Return one vector a set, in float64.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return self._vectors(X, "sets")


class GraphEncoder(MaskedTokenEncoder):
    """Encode the nodes of a graph, or whole graphs, trained on the graphs alone.

    Part of the nodes is hidden and part of the edges left out; what hidden nodes hold must be told from their
    neighbours, and two such views of a node (of a graph, where there are several) must stay closer to each other
    than to others. Neighbours are those of the graph and those that hold the like (`ContentSpace`), so that a graph
    without edges will do. Nodes without attributes are described by the structure around them. Parameters are those
    of `GraphClassifier`, without what concerns labels.

    Examples:
        >>> import networkx as nx, structformer as sf
        >>> sf.GraphEncoder(width=32, epochs=3, random_state=0).fit_transform(nx.karate_club_graph()).shape
        (34, 32)
    """

    _tokenizer = GraphTokenizer

    def transform(self, X: Any) -> Float[np.ndarray, "things width"]:
        """Return one vector a node for one graph, one vector a graph for a list of graphs; in float64.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return self._vectors(X, "tokens" if as_list(X)[0] is X else "sets")


def self_supervised_loss(model: nn.Module, tokens: TokenSet, variance: float = 1.0) -> Tensor:
    """Return what hidden tokens were told wrong, plus half the disagreement of two views of tokens and of sets.

    What the encoder itself adds to the loss is added as it is, the mean over both views.

    Args:
        model: The encoder.
        tokens: The sets of a batch, as they are.
        variance: That of the features in training, by which errors are measured: rare binary features
            vary so little that else they would not count.
    """
    views = [corrupted(tokens) for _ in range(2)]
    outputs: list[MaskedOutput] = [model(view, masked) for view, masked in views]
    first, second = outputs
    hidden = [masked for _, masked in views]
    told = reconstruction_loss(first.features, tokens.x, hidden[0])
    told = told + reconstruction_loss(second.features, tokens.x, hidden[1])
    some = torch.randperm(tokens.num_tokens, device=tokens.x.device)[:MOST_COMPARED]
    apart = agreement_loss(first.tokens[some], second.tokens[some])
    if tokens.num_sets > 1:
        apart = apart + agreement_loss(first.sets, second.sets)
    own = (first.encoded.loss + second.encoded.loss) / 2
    return told / (2 * variance) + apart / 2 + own


def corrupted(tokens: TokenSet) -> tuple[TokenSet, Bool[Tensor, " tokens"]]:
    """Return the tokens without a random part of their edges, and which tokens to hide."""
    view, device = bare(tokens), tokens.x.device
    masked = torch.rand(tokens.num_tokens, device=device) < HIDDEN_TOKENS
    if tokens.edge_index is not None:
        kept = torch.rand(tokens.edge_index.shape[1], device=device) >= DROPPED_EDGES
        view.edge_index = tokens.edge_index[:, kept]
        if tokens.edge_attr is not None:
            view.edge_attr = tokens.edge_attr[kept]
    return view, masked

"""NodeClassifier: one graph in, labels of some nodes known, a label for every node out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import networkx as nx
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from structformer.estimators.base import Classes, State, run_training, seeded
from structformer.estimators.node_few_labels import FewLabels
from structformer.estimators.node_graph import fingerprint, one_graph
from structformer.estimators.node_labels import node_labels, repeating_attributes, train_and_eval
from structformer.estimators.node_many_labels import ManyLabels
from structformer.estimators.node_objective import one_hot, rarest
from structformer.estimators.order import canonical
from structformer.estimators.packed import (
    PackedEstimator,
    bare,
    counted,
    in_double,
    joined_graph,
    token_input,
)
from structformer.estimators.targets import ClassWeight, class_weights
from structformer.graph import TokenGraph
from structformer.models.choice import ModelName, config_from_state, config_state
from structformer.models.encoder import Encoded, SOESEncoderConfig
from structformer.models.node import NodeModel, NodeOutput
from structformer.models.pooled import TokenInput
from structformer.nn.content_space import ContentSpace
from structformer.tokenize import GraphTokenizer
from structformer.tokens import TokenSet
from structformer.training import Callback, index_loader
from structformer.training.objectives import tempered_classification_loss

FEWEST_TO_HIDE = 10
"""Known labels of the rarest class from which on labels are hidden in turn."""


class NodeClassifier(ClassifierMixin, PackedEstimator):
    """Classify the nodes of a graph, some of whose labels are known.

    Nodes listen to each other along the graph's own edges, and along edges to those that hold alike things; how much to
    whom is learned (`NodeModel`). A node's class is read from its state, from the features that reach it along the
    learned graph, and from what the known labels, and what is read of other nodes, say when they spread there.
    Unlabelled nodes are learned from too: with few labels they are taught what spreads to them (`FewLabels`), else what
    is read of them must not depend on what happens to be dropped (`ManyLabels`).

    The graph is a networkx graph of any kind, or PyG Data or HeteroData. Nodes without attributes are described by
    their place in the graph (`GraphTokenizer`). A node attribute that is the target under another name, as networkx'
    karate club carries its clubs, would make the task void: it is left out, with a warning unless ``ignore`` or ``y``
    names it.

    Args:
        model: "soes", which weighs the edges anew in every step, or "ressformer", which repeats one block with a memory
            and several experts (`ReSSFormer`).
        model_options: Further settings of that model by name, such as {"experts": 8}: fields of `SOESEncoderConfig` or
            `ReSSFormerConfig`.
        width: Features of an embedded node.
        steps: Times that the edges are weighed anew and listened along.
        heads: Attention heads; must divide ``width``.
        neighbors: Nodes most like it that a node listens to, and that listen to it, besides the graph's own edges.
        dropout: Probability of dropping a feature, raw or learned, an attention weight, or all that travels from a
            node.
        epochs: Most training steps; each sees the whole graph.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        patience: Steps without a better score on ``eval_mask`` before stopping; without one nothing stops early.
        max_time: Seconds that training may take.
        class_weight: None, "balanced", or a dict from label to weight.
        ignore: Attributes of nodes or edges that are not to be read. None: those that are the target.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each step with what happened and the model; True stops training.

    Attributes:
        classes_: The class labels in sorted order.
        tokenizer_: The fitted `GraphTokenizer`.
        model_: The trained network.
        history_: What happened in training; saved with the model.

    Examples:
        >>> import networkx as nx
        >>> from structformer.estimators.nodes import NodeClassifier
        >>> graph = nx.karate_club_graph()
        >>> leaders = [node in (0, 33) for node in graph]
        >>> model = NodeClassifier(epochs=5, random_state=0).fit(graph, y="club", train_mask=leaders)
        >>> model.predict(graph).shape
        (34,)
    """

    model_: NodeModel
    tokenizer_: GraphTokenizer

    def __init__(
        self,
        *,
        model: ModelName = "soes",
        model_options: Mapping[str, Any] | None = None,
        width: int = 64,
        steps: int = 2,
        heads: int = 4,
        neighbors: int = 8,
        dropout: float = 0.5,
        epochs: int = 100,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.1,
        patience: int | None = 50,
        max_time: float | None = None,
        class_weight: ClassWeight = None,
        ignore: Sequence[str] | None = None,
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
            patience=patience,
            max_time=max_time,
            device=device,
            random_state=random_state,
            verbose=verbose,
            callbacks=callbacks,
        )
        self.class_weight = class_weight
        self.ignore = ignore

    def fit(self, graph: Any, y: Any = None, train_mask: Any = None, eval_mask: Any = None) -> Self:
        """Train on the nodes whose labels are known.

        Args:
            graph: The graph.
            y: Labels: a dict from node to label; a list, array, tensor or Series in the order of the nodes; the name of
                a node attribute of a networkx graph; or None for the ``y`` of PyG Data. None, NaN and -1 are unknown.
            train_mask: True for each node whose label may be used, in order, or as a dict; None takes the
                ``train_mask`` of PyG Data, or else all known labels.
            eval_mask: Nodes whose labels decide when to stop, and are not learned from.

        Raises:
            ValueError: The graph, the labels or a mask cannot be used; the message names the culprit.
        """
        tokens, nodes, labels, known = self._read(one_graph(graph), y)
        train_mask = tokens.get("train_mask") if train_mask is None else train_mask
        train, held = train_and_eval(train_mask, eval_mask, nodes, known)
        self._classes = Classes.of(labels[train])
        self.classes_ = self._classes.values
        target = np.full(len(nodes), -1)
        target[train] = self._classes.encode(labels[train])
        self._known, self._nodes = torch.from_numpy(target), [repr(node) for node in nodes]
        self._mark = fingerprint(tokens, self._nodes)
        asked = np.full(len(nodes), -1)
        asked[held] = self._classes.encode(labels[held], "y under eval_mask")
        self._train(tokens, self._known, torch.from_numpy(asked))
        return self

    def predict_proba(self, graph: Any, known: Any = None) -> Float[np.ndarray, "nodes classes"]:
        """Return the probability of each class, in the order of `classes_`, for each node of a graph.

        In the training graph, its nodes in any order, the training labels are known. Nodes of PyG Data are known by
        their number. Any other graph has no known labels but those given here.

        Args:
            graph: The training graph, or another one.
            known: Labels known in another graph, in the forms that `fit` takes.

        Raises:
            ValueError: The graph or the labels cannot be used; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return self._outputs(graph, known)[1].outputs.softmax(-1).numpy()

    def predict(self, graph: Any, known: Any = None) -> np.ndarray:
        """Return the most probable class of each node of a graph; arguments as in `predict_proba`."""
        place = self._outputs(graph, known)[1].outputs.argmax(-1).numpy()
        return self.classes_[place]

    def learned_graph(self, X: Any, *, support: bool = True) -> TokenGraph:
        """Return the graph learned over the nodes of ``X``; ``labels`` are those known in training, else None.

        Edges also have their ``support``, how far they speak for what is predicted of the nodes, by which pictures show
        them; ``support=False`` saves the pass backwards that this takes.

        Raises:
            ValueError: ``X`` cannot be read.
            NotFittedError: Before `fit`.
        """
        check_is_fitted(self, "model_")
        with self._supporting(support):
            tokens, out, visible = self._outputs(X, None)
        labels = None
        if bool((visible >= 0).any()):
            labels = [None if c < 0 else self.classes_.tolist()[c] for c in visible.tolist()]
        return joined_graph([out.encoded.graphs], tokens, labels)

    def _read(self, graph: Any, y: Any) -> tuple[TokenSet, list[Any], np.ndarray, Bool[np.ndarray, " nodes"]]:
        """Fit the tokenizer; return the nodes as tokens and as the user knows them, labels, which are known."""
        if isinstance(graph, nx.Graph):
            nodes = list(graph.nodes)
            if not nodes:
                raise ValueError("the graph has no nodes")
            labels, known = node_labels(y, graph, nodes)
            self.tokenizer_ = GraphTokenizer(ignore=self._ignored(graph, y, labels, known))
            return self.tokenizer_.fit_transform(graph), nodes, labels, known
        ignored = (*(self.ignore or ()), *(() if y is None else ("y",)))
        self.tokenizer_ = GraphTokenizer(ignore=ignored)
        tokens = self.tokenizer_.fit_transform(graph)
        nodes = self.tokenizer_.nodes(graph)[0]
        labels, known = node_labels(tokens.y if y is None else y, graph, nodes)
        return tokens, nodes, labels, known

    def _ignored(
        self, graph: Any, y: Any, labels: np.ndarray, known: Bool[np.ndarray, " nodes"]
    ) -> tuple[str, ...]:
        named = (y,) if isinstance(y, str) else ()
        if self.ignore is not None:
            return (*self.ignore, *named)
        repeating = [name for name in repeating_attributes(graph, labels, known) if name not in named]
        for name in repeating:
            warnings.warn(
                f"node attribute {name!r} tells the classes of y apart without fail: it is taken for the target "
                f"itself and left out; pass ignore=({name!r},) to say so, or ignore=() to read it",
                UserWarning,
                stacklevel=3,
            )
        return (*named, *repeating)

    def _train(self, tokens: TokenSet, target: Int[Tensor, " nodes"], held: Int[Tensor, " nodes"]) -> None:
        """Build the network and train it, on nodes in an order of their own."""
        seed, classes = self._seed(), len(self.classes_)
        ordered, place, _ = canonical(bare(tokens), torch.stack([target, held], dim=1).numpy(), self._nodes)
        weight = class_weights(self.class_weight, self._classes, target[target >= 0])
        many = rarest(target, classes) >= FEWEST_TO_HIDE
        objective = (ManyLabels if many else FewLabels)(target[place], classes, weight, seed)
        self._input = token_input(ordered, len(self.tokenizer_.node_types_) or 1)
        config = self._encoder_config(self._input)
        space = ContentSpace.fit(ordered.x)
        self._build(self._input, config, seed, space.counted, objective.trust, objective.given_bonus)
        self.model_.space.load_state_dict(space.state_dict())
        objective.prepare(self.model_, ordered)
        asked = (held[place] >= 0).nonzero().flatten()
        answers = held[place][asked]

        def validate(model: nn.Module) -> float:
            device = next(model.parameters()).device
            out = objective.said(model, ordered.to(device), objective.labels)
            return -float(tempered_classification_loss(out.outputs[asked.to(device)].cpu(), answers, weight))

        self.history_ = run_training(
            self.model_,
            index_loader(1, 1, seed, lambda _: ordered),
            objective,
            self._training_config(1, self.patience if len(asked) else None),
            seed,
            validate=validate if len(asked) else None,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )
        self._seen = counted(tokens, "graphs", "nodes", labels=int((target >= 0).sum()))

    def _build(
        self,
        given: TokenInput,
        config: SOESEncoderConfig,
        seed: int,
        counted: bool,
        trust: float = 1.0,
        given_bonus: float = 0.0,
    ) -> None:
        self._exact, classes = None, len(self._classes.values)
        self.model_ = seeded(  # pyright: ignore[reportAttributeAccessIssue]
            seed,
            lambda: NodeModel(given, classes, config, given_bonus=given_bonus, trust=trust, counted=counted),
        )

    def _outputs(self, graph: Any, known: Any) -> tuple[TokenSet, NodeOutput, Int[Tensor, " nodes"]]:
        """Return the nodes, what the network says of them, and the classes that it was told (-1: none)."""
        check_is_fitted(self, "model_")
        graph = one_graph(graph)
        tokens, nodes = self.tokenizer_.transform(graph), self.tokenizer_.nodes(graph)[0]
        names = [repr(node) for node in nodes]
        visible = torch.full((len(nodes),), -1)
        if known is not None:
            labels, there = node_labels(known, graph, nodes, "known")
            visible[torch.from_numpy(there)] = torch.from_numpy(self._classes.encode(labels[there], "known"))
        elif fingerprint(tokens, names) == self._mark:
            place = {name: i for i, name in enumerate(self._nodes)}
            visible = self._known[[place[name] for name in names]]
        # Of two nodes that are alike, but for a label, the first is listened to: which one that is must not
        # depend on the order in which they came.
        ordered, place, _ = canonical(bare(tokens), visible.numpy(), names)
        model = self._exact_model()
        with torch.no_grad():
            out: NodeOutput = model(in_double(ordered), one_hot(visible[place], len(self.classes_)).double())
        return tokens, _in_place(out, torch.argsort(place)), visible

    def _state(self) -> State:
        return {
            **super()._state(),
            "input": asdict(self._input),
            "config": config_state(self.model_.encoder.config),
            "counted": self.model_.space.counted,
            "classes": self._classes.to_dict(),
            "nodes": self._nodes,
            "mark": self._mark,
        }

    def _restore(self, state: State) -> None:
        self.tokenizer_ = GraphTokenizer.from_dict(state["tokenizer"])
        self._classes = Classes.from_dict(state["classes"])
        self.classes_ = self._classes.values
        self._nodes, self._mark = state["nodes"], state["mark"]
        self._input = TokenInput(**state["input"])
        self._build(self._input, config_from_state(state["config"]), 0, bool(state["counted"]))

    def _tensors(self) -> dict[str, Tensor]:
        return {**super()._tensors(), "known": self._known}

    def _load_tensors(self, tensors: dict[str, Tensor]) -> None:
        super()._load_tensors(tensors)
        self._known = tensors["known"]


def _in_place(out: NodeOutput, perm: Int[Tensor, " nodes"]) -> NodeOutput:
    """What was said of nodes in one order, in another."""
    graphs = [graph.permute(perm) for graph in out.encoded.graphs]
    encoded = Encoded(out.encoded.tokens[perm], graphs)
    return NodeOutput(out.outputs[perm], out.read[perm], out.spread[perm], encoded)
